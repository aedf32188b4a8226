// Who computes: web workers that run the printed programs, or a live kernel. Both answer the same messages.

import { clamp } from "./drawing.js";

/** The text that `packed` holds, deflated and in base64. */
const unpack = (packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
};

/** Promises of answers to messages that carry a number. */
class Desk {
  constructor(post) {
    Object.assign(this, { post, waiting: new Map(), prefix: Math.random().toString(36).slice(2), sent: 0 });
  }
  ask(message) {
    return new Promise((resolve) => {
      const id = `${this.prefix}${this.sent++}`;
      this.waiting.set(id, resolve);
      this.post({ ...message, id });
    });
  }
  settle(answer) {
    this.waiting.get(answer.id)?.(answer);
    this.waiting.delete(answer.id);
  }
}

/** A page's workers, all of one program: started when they are first asked. */
export class Workers {
  constructor(packed) {
    this.address = unpack(packed).then((text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    this.workers = [];
    this.size = clamp(navigator.hardwareConcurrency || 2, 1, 8);
  }
  desk() {
    const started = this.address.then((address) => {
      const worker = new Worker(address);
      worker.onmessage = ({ data }) => desk.settle(data);
      this.workers.push(worker);
      return worker;
    });
    const desk = new Desk((message) => started.then((worker) => worker.postMessage(message)));
    return desk;
  }
  async close() {
    const address = await this.address;
    for (const worker of this.workers) worker.terminate();
    URL.revokeObjectURL(address);
  }
}

/** A live kernel, which answers one message after the other. */
export class Kernel {
  constructor(model) {
    this.model = model;
    this.size = 1;
    this.only = new Desk((message) => model.send(message));
    this.receive = (answer, buffers) => {
      const arrays = buffers.map((view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
      if (answer.table !== undefined) answer.table = new Float32Array(arrays[answer.table]);
      for (const told of Object.values(answer.told ?? {})) {
        if (told.map !== null) told.map = new Uint8ClampedArray(arrays[told.map]);
      }
      this.only.settle(answer);
    };
    model.on("msg:custom", this.receive);
  }
  desk() {
    return this.only;
  }
  close() {
    this.model.off("msg:custom", this.receive);
  }
}

/** Many messages on many desks, each of which has one at a time, so that what is no longer wanted is soon done. */
export class Pool {
  constructor(office) {
    this.office = office;
    this.desks = [];
  }
  /** Ask all that `messages` yields, and hand each answer to `tell` as it comes, until `wanted` says no. */
  async all(messages, tell, wanted = () => true) {
    while (this.desks.length < this.office.size) this.desks.push(this.office.desk());
    const left = messages[Symbol.iterator]();
    const work = async (desk) => {
      for (let next = left.next(); !next.done && wanted(); next = left.next()) {
        const answer = await desk.ask(next.value);
        if (wanted()) tell(answer, next.value);
      }
    };
    await Promise.all(this.desks.map(work));
  }
  async one(message) {
    this.desks[0] ??= this.office.desk();
    return this.desks[0].ask(message);
  }
}

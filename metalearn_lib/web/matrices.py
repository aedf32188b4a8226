"""Operations of torch on matrices: products, as WebAssembly where they are large, and a QR decomposition."""

from __future__ import annotations

import math
from typing import Any

import torch

from metalearn_lib.web import wasm
from metalearn_lib.web.loops import Lazy, View
from metalearn_lib.web.views import Views


class Matrices(Views):
    """Each method is called with the shape of its result; see `generator.Printer`."""

    def _mm(self, shape: tuple[int, ...], left: View, right: View) -> View:
        return self.product(shape, left, right, None)

    def _addmm(self, shape: tuple[int, ...], bias: View, left: View, right: View) -> View:
        return self.product(shape, left, right, bias)

    def _bmm(self, shape: tuple[int, ...], left: View, right: View) -> View:
        return self.product(shape, left, right, None)

    def _baddbmm(self, shape: tuple[int, ...], bias: View, left: View, right: View) -> View:
        return self.product(shape, left, right, bias)

    def product(self, shape: tuple[int, ...], left: View, right: View, bias: View | None) -> View:
        """A matrix product, or one for each entry of a leading axis."""
        target = self.new(shape)
        if right.strides[-1] != 1 and right.shape[-2] < 8:
            right = self.materialise(right)  # a small matrix is cheaper to turn than to walk across
        if bias is not None:
            self.copy(self._expand(shape, bias, []), target)
        for batch in range(math.prod(shape[:-2])):
            views = (left, right, target)
            if len(shape) > 2:
                views = tuple(self._select(view.shape[1:], view, 0, batch) for view in views)
            self.matrix_product(*views, adds=bias is not None)
        return target

    def matrix_product(self, left: View, right: View, target: View, adds: bool) -> None:
        (m, k), n = left.shape, right.shape[1]
        strides = (left.strides[0], left.strides[1]), (right.strides[0], right.strides[1])
        job = wasm.Product(m, k, n, *strides, adds)
        if self.simd and job.fits:
            self.job(job, left, right, target)
            return
        entry = target.index((m, n), ["i", "j"])
        terms = f"{left.index((m, k), ['i', 'q'])}*{right.index((k, n), ['q', 'j'])}"
        self.emit(
            f"for(let i=0;i<{m};i++)for(let j=0;j<{n};j++){{let s={entry if adds else 0};"
            f"for(let q=0;q<{k};q++)s+={terms};{entry}=s;}}"
        )

    def _linspace(self, shape: tuple[int, ...], start: Any, end: Any, *_: Any, **__: Any) -> View:
        (steps,) = shape
        ramp = self.constant(torch.linspace(0, 1, steps, dtype=torch.float64))
        # torch's own two halves: each is exact at its end
        half = "({2}<0.5?{0}+({1}-{0})*{2}:{1}-({1}-{0})*(1-{2}))"
        arguments = [self.view(each) if isinstance(each, Lazy) else each for each in (start, end)]
        return self.view(self.lazy(shape, half, [*arguments, ramp]))

    def _linalg_qr(self, _: tuple[int, ...], view: View, mode: str = "reduced") -> list[View]:
        """Householder reflections with LAPACK's signs."""
        size = view.shape[0]
        if view.shape != (size, size):
            raise NotImplementedError(
                f"linalg_qr of shape {view.shape} has no case; only square matrices have."
            )
        r, q = self.materialise(view), self.new(view.shape)
        self.emit(
            f"const n={size},R=@{r.buffer}@,Q=@{q.buffer}@;Q.fill(0);for(let i=0;i<n;i++)Q[i*n+i]=1;"
            "for(let c=0;c<n-1;c++){let s=0;for(let i=c+1;i<n;i++)s+=R[i*n+c]**2;if(s===0)continue;"
            "const a=R[c*n+c],b=-(Math.sign(a)||1)*Math.sqrt(a*a+s),t=(b-a)/b,v=[];"
            "for(let i=0;i<n;i++)v.push(i<c?0:i===c?1:R[i*n+c]/(a-b));"
            "for(let j=0;j<n;j++){let d=0;for(let i=c;i<n;i++)d+=v[i]*R[i*n+j];"
            "for(let i=c;i<n;i++)R[i*n+j]-=t*d*v[i];}"
            "for(let i=0;i<n;i++){let d=0;for(let j=c;j<n;j++)d+=Q[i*n+j]*v[j];"
            "for(let j=c;j<n;j++)Q[i*n+j]-=t*d*v[j];}"
            "for(let i=c+1;i<n;i++)R[i*n+c]=0;}"
        )
        return [q, r]

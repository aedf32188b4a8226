from metalearn_lib.cli import main

if __name__ == "__main__":  # also false in a process that multiprocessing spawns
    raise SystemExit(main())

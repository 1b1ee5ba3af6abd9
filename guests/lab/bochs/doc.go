// Package bochs runs the CPU emulator in which the lab's Xen host runs: Bochs 3.0 of
// Debian 13, from an unpacked package prefix, without root and without any network.
//
// A [Machine] describes the emulated computer; the emulator's configuration file
// depends on it alone. [Start] boots a machine from the lab's disc, or restores one
// from a [Snapshot], and returns when it runs:
//
//	shim, err := bochs.BuildShim(ctx, cc, cacheDir)
//	snap, err := bochs.Save(ctx, launch, bochs.SaveRequest{Dir: dir, After: agent.Mark, Key: image})
//	launch.Snapshot, launch.Job = snap, job
//	p, err := bochs.Start(ctx, launch)
//	defer p.Close()
//	messages := wire.NewReader(p.Conn())
//
// Two properties make a run repeatable bit for bit. The machine's clock is its
// instruction counter, so it does not depend on the speed of the host. The job is in
// the buffer of the emulated serial port before the emulator's process exists, so
// its first byte arrives at the same virtual time in each run. Bytes that are sent
// later arrive at no fixed virtual time.
//
// A small C library (shim/shim.c, compiled at run time with the prefix's own
// compiler, see guests/lab/toolchain) is preloaded into the emulator. It blocks the
// network, connects com2 to an inherited socket, saves the state at a moment that
// depends on virtual time alone, and maps a snapshot's memory copy on write instead
// of copying it.
//
// Every failure of a running machine is a [*Failure] with the ends of the machine's
// console and of the emulator's log. A [*SnapshotError] says that a snapshot's files
// are not those that were saved; the remedy is to boot and to save a new snapshot.
package bochs

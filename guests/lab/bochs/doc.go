// Package bochs runs the CPU emulator in which the lab's Xen host lives: Bochs
// 3.0 of Debian 13, from an unpacked package prefix, without root and without
// any network.
//
// A [Machine] is what is emulated, and its configuration file is a pure
// function of it. [Start] boots one from the lab's disc, or restores one from a
// [Snapshot], and returns when it runs:
//
//	shim, err := bochs.BuildShim(ctx, cc, cacheDir)
//	snap, err := bochs.Save(ctx, launch, bochs.SaveRequest{Dir: dir, After: wire.FirstLine(wire.KindReady), Key: image})
//	launch.Snapshot, launch.Job = snap, job
//	p, err := bochs.Start(ctx, launch)
//	defer p.Close()
//	messages := wire.NewReader(p.Conn())
//
// Two things make a run repeatable bit for bit. The machine's clock is its
// instruction counter, so nothing in it depends on how fast this machine is.
// And a job is in the buffer of the emulated serial port before the emulator's
// process exists, so the first byte arrives at the same virtual time in each
// run. Whatever is sent to the machine later arrives when it arrives.
//
// A small C library (shim/shim.c, compiled at run time with the prefix's own
// compiler, see guests/lab/toolchain) is preloaded into the emulator. It takes
// the network away, connects com2 to an inherited socket, saves the state at a
// moment that only depends on virtual time, and maps a snapshot's memory copy on
// write instead of copying it.
//
// Every failure is a [*Failure] with the ends of the machine's console and of
// the emulator's log. What points at the snapshot is a [*SnapshotError] besides:
// the remedy is a cold boot.
package bochs

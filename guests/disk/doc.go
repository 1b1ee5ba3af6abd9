// Package disk makes the block devices in dom0 that guests get as their disks:
// a RAM disk under a device-mapper target, which can be suspended.
//
// A suspended device takes requests and completes none, as a storage backend
// does that is gone. bench/dom0 makes one for each guest, guests/xl gives it to
// the guest, and scenarios/inject stalls it.
package disk

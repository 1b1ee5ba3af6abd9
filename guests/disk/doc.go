// Package disk makes block devices in dom0 that become the disks of guests: a RAM disk
// under a device-mapper target, which can be suspended.
//
// A suspended device accepts requests and completes none, like a storage backend that
// has failed. bench/dom0 makes one for each guest, guests/xl attaches it to the guest,
// and scenarios/inject suspends it.
package disk

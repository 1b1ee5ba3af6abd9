// Package libvmi is the monitor's driver on LibVMI. Through cgo/libvmi it gives a
// monitor.Session one guest, for the same mechanisms and detectors as
// monitor/driver/xenctrl, and it gives monitor/linux the guest's memory.
//
// LibVMI has no function for some of the calls of a monitor. The driver makes them
// with libxenctrl, as any program on LibVMI would have to:
//
//   - the scheduling state of the guest and its vCPUs, and the reason of a shutdown;
//   - the permission of a frame and the view of a vCPU, with which a mechanism checks
//     that its trap is set.
//
// LibVMI opens the guest's event ring when it opens the guest. So the driver has one
// instance of LibVMI without events, for memory and registers, and Listen opens a
// second one with events. Any goroutine may use the first.
//
// LibVMI calls back for each event, so the ring is a driver.Server.
package libvmi

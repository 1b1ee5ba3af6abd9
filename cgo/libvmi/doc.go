// Package libvmi binds the part of LibVMI (https://libvmi.com) that a monitor needs:
// a guest's memory and registers, events, and second-level address translation
// views, which are altp2m views on Xen.
//
// A [VMI] is one guest that is open. LibVMI has no locks, so a VMI belongs to one
// goroutine at a time.
//
//	v, err := libvmi.Open(libvmi.ByName("guest"), libvmi.Config{Events: true})
//	...
//	defer v.Close()
//	_, err = v.Register(libvmi.RegisterEvent(libvmi.CR3), func(e *libvmi.Event) libvmi.Response {
//		fmt.Println(e.VCPU, e.Value)
//		return libvmi.Response{}
//	})
//	for err == nil {
//		err = v.Listen(100 * time.Millisecond)
//	}
//
// # Memory
//
// [VMI.Register] makes the C structure of an event and its handle. They are freed
// once LibVMI does not use them any more: after [VMI.Listen] if a handler cleared
// the event, and in [VMI.Close] at the latest. An [Event] belongs to the binding and
// is valid until its handler returns. Slices belong to the caller; no C pointer to
// them outlives the call. All configuration is passed in memory: LibVMI does not need
// its file /etc/libvmi.conf.
//
// # Handlers
//
// Listen calls the handlers, on its own goroutine. A handler may call every method
// but Listen, Settle and Close. If a handler panics, Listen answers the other events
// without their handlers, releases the guest as Close does, and returns a
// [PanicError].
//
// # Building
//
// The package uses LibVMI if it is built with the tag libvmi, with cgo, and with a
// LibVMI 0.14 or newer that pkg-config finds. Any other build compiles too, and Open
// returns [ErrNotBuilt]. cgo/README.md lists the differences to cgo/xenctrl.
package libvmi

// Package libvmi binds what a monitor needs of LibVMI, the introspection library
// (https://libvmi.com): reading a guest's memory and registers, events, and
// second-level address translation views, which are altp2m views on Xen.
//
// A [VMI] is one guest that is open. It belongs to one goroutine at a time:
// LibVMI has no locks.
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
// Whose memory is whose: an event's C structure and the handle behind it are made
// by [VMI.Register] and freed once LibVMI has let go of them, which is during
// [VMI.Listen] if they are cleared in a handler and in [VMI.Close] at the latest.
// An [Event] is the binding's and is valid until its handler returns. Slices that
// are read into and written from are the caller's; no C pointer to them outlives
// the call. All configuration is passed in memory: there is no need of
// /etc/libvmi.conf.
//
// A handler runs within Listen, on its goroutine. It may call anything but Listen
// and Close. If it panics, the events that are still open are answered without
// it, the guest is released as Close does it, and Listen returns a [PanicError].
//
// The package is built on LibVMI with the tag libvmi, with cgo and with a LibVMI
// that pkg-config finds, 0.14 or newer. In any other build it compiles, and Open
// says [ErrNotBuilt]. What differs from cgo/xenctrl is in cgo/README.md.
package libvmi

//go:build xen && cgo

package xenctrl

// #include "shim.h"
import "C"

import "unsafe"

// headerLayout returns sizes, offsets and constants of the headers this build
// was made with, by their C names. Tests hold the Go side against it; cgo does
// not work in test files.
func headerLayout() map[string]uintptr {
	var n C.size_t
	first := C.hb_layout(&n)
	all := unsafe.Slice(first, int(n))
	m := make(map[string]uintptr, n)
	for _, o := range all {
		m[C.GoString(o.name)] = uintptr(o.off)
	}
	return m
}

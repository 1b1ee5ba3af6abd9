//go:build xen && cgo

package xenctrl

// #include "shim.h"
import "C"

import "unsafe"

// headerLayout returns sizes, offsets and constants of the headers of this build, by
// their C names. A test compares them with those of Go. It is not in a test file
// because those cannot use cgo.
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

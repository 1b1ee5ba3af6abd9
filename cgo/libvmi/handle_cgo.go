//go:build cgo

package libvmi

import "runtime/cgo"

// handle stands for a Go pointer in C.
type handle = cgo.Handle

func newHandle(r *Registration) handle { return cgo.NewHandle(r) }

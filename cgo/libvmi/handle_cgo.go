//go:build cgo

package libvmi

import "runtime/cgo"

// handle is what C is given in place of a pointer of Go's.
type handle = cgo.Handle

func newHandle(r *Registration) handle { return cgo.NewHandle(r) }

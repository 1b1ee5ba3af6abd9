//go:build !cgo

package libvmi

import "sync"

// handle replaces cgo.Handle in a build without cgo, which has no runtime/cgo. Only
// tests use it.
type handle uintptr

var handles struct {
	sync.Mutex
	last handle
	m    map[handle]*Registration
}

func newHandle(r *Registration) handle {
	handles.Lock()
	defer handles.Unlock()
	if handles.m == nil {
		handles.m = map[handle]*Registration{}
	}
	handles.last++
	handles.m[handles.last] = r
	return handles.last
}

// Value panics after Delete, as that of cgo.Handle does.
func (h handle) Value() any {
	handles.Lock()
	defer handles.Unlock()
	r, ok := handles.m[h]
	if !ok {
		panic("misuse of a handle that was deleted")
	}
	return r
}

// Delete invalidates the handle.
func (h handle) Delete() {
	handles.Lock()
	defer handles.Unlock()
	delete(handles.m, h)
}

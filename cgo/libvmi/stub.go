//go:build !libvmi || !cgo

package libvmi

// Built tells whether this build has LibVMI.
const Built = false

// EventsVersion is the events interface version of the build, 0 without LibVMI.
const EventsVersion = 0

func openInstance(Target, bool) (instance, error) { return nil, ErrNotBuilt }

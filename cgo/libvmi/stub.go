//go:build !libvmi || !cgo

package libvmi

// Built reports whether this build has LibVMI.
const Built = false

// EventsVersion is 0 in a build without LibVMI.
const EventsVersion = 0

func openInstance(Target, bool) (instance, error) { return nil, ErrNotBuilt }

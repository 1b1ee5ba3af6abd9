package monitor

// Changes is what a session changes in a guest, written down before it does.
type Changes struct {
	Mechanism  string   `json:"mechanism"`
	Restricted []uint64 `json:"restricted,omitempty"` // frames whose permissions in the host view are taken
	Patched    []Patch  `json:"patched,omitempty"`
	Added      []uint64 `json:"added,omitempty"` // frames of memory the guest was given
}

// Patch is a change of guest memory.
type Patch struct {
	GPA      uint64 `json:"gpa"`
	Original []byte `json:"original"`
	Patched  []byte `json:"patched"`
}

// Journal keeps Changes where they outlive the monitor, and no longer than the
// guest.
type Journal interface {
	Write(Changes) error
	Clear() error
}

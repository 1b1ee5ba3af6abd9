package trap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ChangesVersion is the version of Changes that this program writes and reads.
const ChangesVersion = 1

// Bounds of Changes. A session traps a handful of frames and functions; more is
// garbage.
const (
	MaxChanges     = 16      // entries of each list
	MaxChangesText = 3 << 10 // bytes of the JSON text; xenstore takes 4 KiB, path included
	maxFrame       = 1 << 40 // frame numbers lie below: 52 bits of physical address
	maxPatch       = 16      // bytes: the longest instruction has 15
)

// Changes lists what a trap changes in a guest. The session writes it to its journal
// before it makes the changes. Views and their restrictions need no entry: they end
// when altp2m is turned off.
type Changes struct {
	Mechanism  string   `json:"mechanism"`
	Restricted []uint64 `json:"restricted,omitempty"` // frames whose permissions in the host view are taken
	Patched    []Patch  `json:"patched,omitempty"`
	Added      []uint64 `json:"added,omitempty"` // frames of memory the guest was given

	// The rest is for the journal's writer to fill in.

	Version int `json:"version"`
	// PID is the monitor's process in the control domain. Start is when it
	// started, in clock ticks since boot as /proc/PID/stat has it, so that a
	// number used again is not taken for it; 0 if unknown.
	PID   int    `json:"pid"`
	Start uint64 `json:"start,omitempty"`
	// Paused says that the guest was paused by somebody else already.
	Paused bool `json:"paused,omitempty"`
}

// Patch is a change of guest memory.
type Patch struct {
	GPA      uint64 `json:"gpa"`
	Original []byte `json:"original"`
	Patched  []byte `json:"patched"`
}

// Check says what is wrong with changes that come from elsewhere.
func (c *Changes) Check() error {
	if c.Version != ChangesVersion {
		return fmt.Errorf("changes of version %d, this program knows %d", c.Version, ChangesVersion)
	}
	if len(c.Mechanism) > 64 {
		return fmt.Errorf("a mechanism's name of %d bytes", len(c.Mechanism))
	}
	for _, r := range c.Mechanism {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("mechanism %q: a name has a-z, 0-9 and '-'", c.Mechanism)
		}
	}
	// PID_MAX_LIMIT of Linux.
	if c.PID < 0 || c.PID > 1<<22 {
		return fmt.Errorf("process %d", c.PID)
	}
	if n := max(len(c.Restricted), len(c.Patched), len(c.Added)); n > MaxChanges {
		return fmt.Errorf("%d changes of one kind, there are at most %d", n, MaxChanges)
	}
	for _, gfn := range c.Restricted {
		if gfn >= maxFrame {
			return fmt.Errorf("restricted frame %#x", gfn)
		}
	}
	for _, p := range c.Patched {
		n := len(p.Original)
		switch {
		case p.GPA>>12 >= maxFrame:
			return fmt.Errorf("patched memory at %#x", p.GPA)
		case n == 0 || n > maxPatch || len(p.Patched) != n:
			return fmt.Errorf("%d bytes at %#x patched to %d, want as many, up to %d", n, p.GPA, len(p.Patched), maxPatch)
		case p.GPA&0xfff+uint64(n) > 0x1000:
			return fmt.Errorf("patched memory at %#x crosses its frame", p.GPA)
		}
	}
	for _, gfn := range c.Added {
		if gfn >= maxFrame {
			return fmt.Errorf("added frame %#x", gfn)
		}
	}
	return nil
}

// Text renders the changes as ParseChanges reads them.
func (c Changes) Text() (string, error) {
	c.Version = ChangesVersion
	if err := c.Check(); err != nil {
		return "", fmt.Errorf("write a journal: %w", err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write a journal: %w", err)
	}
	return string(b), nil
}

// ParseChanges reads what Text wrote. The text may come from anybody who can
// write where journals are kept, so all of it is checked.
func ParseChanges(text string) (Changes, error) {
	var c Changes
	fail := func(err error) (Changes, error) {
		return Changes{}, fmt.Errorf("read a journal: %w", err)
	}
	if len(text) > MaxChangesText {
		return fail(fmt.Errorf("%d bytes, there are at most %d", len(text), MaxChangesText))
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(errors.New("something follows the JSON text"))
	}
	if err := c.Check(); err != nil {
		return fail(err)
	}
	return c, nil
}

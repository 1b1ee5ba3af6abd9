package inject

import (
	"fmt"
	"time"

	"hangbench/guests/beat"
)

// Asked has the guest do something to itself, and on lifting something else.
func Asked(t Target, what string, do, undo beat.Errand) (*Injection, error) {
	if err := t.Ask(do); err != nil {
		return nil, err
	}
	return &Injection{What: what, Asked: true, lift: func() error { return t.Ask(undo) }}, nil
}

// StallDisk makes the guest's disk complete nothing.
func StallDisk(t Target) (*Injection, error) {
	if err := t.StallDisk(true); err != nil {
		return nil, err
	}
	return &Injection{What: "disk stalled", Outside: true, lift: func() error { return t.StallDisk(false) }}, nil
}

// Mishandled makes the monitor itself the guest's fault: every vCPU that meets its
// trap meets it again, for ever.
func Mishandled(t Target) (*Injection, error) {
	if err := t.Mishandle(true); err != nil {
		return nil, err
	}
	return &Injection{What: "trap answered and not lifted", Outside: true, lift: func() error { return t.Mishandle(false) }}, nil
}

// Paused pauses the whole guest from outside.
func Paused(t Target) (*Injection, error) {
	if err := t.Pause(); err != nil {
		return nil, err
	}
	return &Injection{What: "guest paused", Outside: true, lift: t.Unpause}, nil
}

// SlowDisk makes the guest's disk complete each request so much later.
func SlowDisk(t Target, by time.Duration) (*Injection, error) {
	if err := t.SlowDisk(by); err != nil {
		return nil, err
	}
	return &Injection{What: fmt.Sprintf("disk slower by %v", by), Outside: true, lift: func() error { return t.SlowDisk(0) }}, nil
}

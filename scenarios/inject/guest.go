package inject

import "hangbench/guests/beat"

// Asked has the guest do something to itself, and on lifting something else.
func Asked(t Target, what string, do, undo beat.Errand) (*Injection, error) {
	if err := t.Ask(do); err != nil {
		return nil, err
	}
	return &Injection{What: what, Asked: true, lift: func() error { return t.Ask(undo) }}, nil
}

// Paused pauses the whole guest from outside.
func Paused(t Target) (*Injection, error) {
	if err := t.Pause(); err != nil {
		return nil, err
	}
	return &Injection{What: "guest paused", lift: t.Unpause}, nil
}

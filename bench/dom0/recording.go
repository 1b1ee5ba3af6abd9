package dom0

import (
	"encoding/json"
	"fmt"

	"hangbench/monitor/detect"
)

// Recording is what the monitor of one trial observed.
type Recording struct {
	// T0NS is when the fault landed, on the clock of the observations; 0 if none did.
	T0NS int64 `json:"t0_ns,omitempty"`
	// LiftedNS is when it had been taken back; 0 if it was not.
	LiftedNS int64 `json:"lifted_ns,omitempty"`
	// Observations are detect.Observation as JSON, in their order, maxRecording
	// bytes of them at most.
	Observations []json.RawMessage `json:"observations"`
	// Dropped is how many observations did not fit any more, or had no form in JSON.
	Dropped int `json:"dropped,omitempty"`
	// Console is what the guest's console said meanwhile, of a trial with baselines;
	// maxConsole bytes of it at most.
	Console []byte `json:"console,omitempty"`

	bytes int // length of Observations
}

// maxRecording bounds a recording, in bytes: half of a message on the lab's port
// (wire.MaxMessage). A look at many waiting tasks takes some ten thousand.
const maxRecording = 2 << 20

// add appends an observation. It keeps nothing of it. What comes after the first
// that does not fit is dropped too, so that the stream has no hole.
func (r *Recording) add(o *detect.Observation) {
	if r.Dropped == 0 {
		b, err := json.Marshal(o)
		if err == nil && r.bytes+len(b) <= maxRecording {
			r.Observations = append(r.Observations, b)
			r.bytes += len(b)
			return
		}
	}
	r.Dropped++
}

// maxConsole bounds what is kept of a console, in bytes.
const maxConsole = 256 << 10

func (r *Recording) listen(b []byte) {
	r.Console = append(r.Console, b[:min(len(b), maxConsole-len(r.Console))]...)
}

// Stream returns the observations.
func (r *Recording) Stream() ([]detect.Observation, error) {
	all := make([]detect.Observation, len(r.Observations))
	for i, raw := range r.Observations {
		if err := json.Unmarshal(raw, &all[i]); err != nil {
			return nil, fmt.Errorf("recorded observation %d: %w", i, err)
		}
	}
	return all, nil
}

package dom0

import (
	"encoding/json"
	"fmt"

	"hangbench/monitor/detect"
)

// Recording holds the observations of the monitor of one trial.
type Recording struct {
	// T0NS is when the fault landed, on the clock of the observations; 0 without a fault.
	T0NS int64 `json:"t0_ns,omitempty"`
	// RemovedNS is when the fault had been removed; 0 if it was not.
	RemovedNS int64 `json:"lifted_ns,omitempty"`
	// Observations are values of detect.Observation as JSON, in order, at most
	// maxRecording bytes of them.
	Observations []json.RawMessage `json:"observations"`
	// Dropped counts observations that did not fit, or could not be written as JSON.
	Dropped int `json:"dropped,omitempty"`
	// Console is the output of the guest's console during a trial that listens to the
	// guest's watchdogs, at most maxConsole bytes of it.
	Console []byte `json:"console,omitempty"`

	bytes int // length of Observations
}

// maxRecording bounds a recording, in bytes: half of a message on the lab's port
// (wire.MaxMessage). An observation with many waiting tasks takes some ten thousand.
const maxRecording = 2 << 20

// add appends a copy of an observation. After the first observation that does not fit
// all others are dropped too, so that the stream has no gap.
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

// maxConsole bounds the console output that is kept, in bytes.
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

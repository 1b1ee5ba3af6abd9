package detect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Header is the first line of a recorded stream: where it comes from and which
// verdict is right.
type Header struct {
	Schema    int    `json:"schema"` // StreamSchema
	Scenario  string `json:"scenario,omitempty"`
	Mechanism string `json:"mechanism,omitempty"`
	Comment   string `json:"comment,omitempty"`
	// Class and Scope of the first verdict; both empty for a control.
	Class Class `json:"class"`
	Scope Scope `json:"scope,omitempty"`
	// FromNS is when the fault landed (T0), on the clock of the observations: a
	// verdict before is a false alarm. WithinNS is how long after it the verdict
	// must have come; 0 for any time.
	FromNS   int64 `json:"from_ns,omitempty"`
	WithinNS int64 `json:"within_ns,omitempty"`
	// LiftedNS is when the fault had been taken back, on the same clock; 0 if it was not.
	LiftedNS int64 `json:"lifted_ns,omitempty"`
	// Thresholds that were other than the defaults, by name.
	Thresholds map[string]int64 `json:"thresholds,omitempty"`
}

// StreamSchema is the version of the format.
const StreamSchema = 1

// Limits of a stream that is read.
const (
	maxLine         = 4 << 20 // bytes
	maxObservations = 1 << 20
	maxVCPUs        = 512 // Xen's limit for HVM guests is 128
)

// Recorder writes observations as JSON, one a line.
type Recorder struct {
	w *bufio.Writer
	e *json.Encoder
}

// NewRecorder writes the header.
func NewRecorder(w io.Writer, h Header) (*Recorder, error) {
	h.Schema = StreamSchema
	r := &Recorder{w: bufio.NewWriter(w)}
	r.e = json.NewEncoder(r.w)
	if err := r.e.Encode(&h); err != nil {
		return nil, fmt.Errorf("record the header: %w", err)
	}
	return r, nil
}

// Record writes an observation. It keeps nothing of it.
func (r *Recorder) Record(o *Observation) error {
	if err := r.e.Encode(o); err != nil {
		return fmt.Errorf("record an observation: %w", err)
	}
	return nil
}

// Flush writes what is buffered.
func (r *Recorder) Flush() error {
	if err := r.w.Flush(); err != nil {
		return fmt.Errorf("record observations: %w", err)
	}
	return nil
}

// WriteStream writes a stream as a whole: for a recording whose header is known
// only at its end.
func WriteStream(w io.Writer, h Header, stream []Observation) error {
	r, err := NewRecorder(w, h)
	if err != nil {
		return err
	}
	for i := range stream {
		if err := r.Record(&stream[i]); err != nil {
			return err
		}
	}
	return r.Flush()
}

// ReadStream reads what a Recorder wrote. The error names the line. A line that
// ends the file without a newline is one that was being written when the recorder
// died, and an error.
func ReadStream(r io.Reader) (Header, []Observation, error) {
	var h Header
	var stream []Observation
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	n := 0
	fail := func(err error) (Header, []Observation, error) {
		return Header{}, nil, fmt.Errorf("read stream, line %d: %w", n, err)
	}
	for lines.Scan() {
		n++
		if n == 1 {
			if err := decode(lines.Bytes(), &h); err != nil {
				return fail(err)
			}
			if err := h.validate(); err != nil {
				return fail(err)
			}
			continue
		}
		var o Observation
		if err := decode(lines.Bytes(), &o); err != nil {
			return fail(err)
		}
		switch {
		case len(stream) == maxObservations:
			return fail(fmt.Errorf("more than %d observations", maxObservations))
		case len(o.VCPUs) > maxVCPUs:
			return fail(fmt.Errorf("%d vCPUs, more than %d", len(o.VCPUs), maxVCPUs))
		case len(stream) > 0 && o.TimeNS <= stream[len(stream)-1].TimeNS:
			return fail(fmt.Errorf("time %d is not after %d", o.TimeNS, stream[len(stream)-1].TimeNS))
		}
		stream = append(stream, o)
	}
	if err := lines.Err(); err != nil {
		n++
		return fail(err)
	}
	if n == 0 {
		return Header{}, nil, errors.New("read stream: it is empty")
	}
	return h, stream, nil
}

func (h *Header) validate() error {
	if h.Schema != StreamSchema {
		return fmt.Errorf("schema is %d, not %d", h.Schema, StreamSchema)
	}
	known := h.Class == ""
	for _, i := range List() {
		known = known || h.Class == i.Class
	}
	switch {
	case !known:
		return fmt.Errorf("class %q is unknown", h.Class)
	case h.Scope != "" && h.Scope != Partial && h.Scope != Full:
		return fmt.Errorf("scope %q is unknown", h.Scope)
	case h.Class == "" && h.Scope != "":
		return fmt.Errorf("scope %q without a class", h.Scope)
	case h.WithinNS < 0:
		return fmt.Errorf("within_ns %d is negative", h.WithinNS)
	}
	t := DefaultThresholds()
	return t.SetAll(h.Thresholds)
}

// decode reads one JSON value that fills the line; a key that nobody knows is an
// error, because what it said would be lost.
func decode(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

// wholeLines splits at newlines, and refuses a last line without one.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

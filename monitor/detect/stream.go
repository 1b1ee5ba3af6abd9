package detect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"hangbench/results/printable"
)

// Header is the first line of a recorded stream. It says where the stream comes
// from and which verdict is right.
type Header struct {
	Schema    int    `json:"schema"` // StreamSchema
	Scenario  string `json:"scenario,omitempty"`
	Mechanism string `json:"mechanism,omitempty"`
	// Host is the kind of host: "lab" or "xen". Guest is the release of the guest's
	// kernel. ReadStream fills these four from the Comment of an older stream.
	Host      string `json:"host,omitempty"`
	Guest     string `json:"guest,omitempty"`
	VCPUs     int    `json:"vcpus,omitempty"`
	MemoryMiB int    `json:"memory_mib,omitempty"`
	Comment   string `json:"comment,omitempty"`
	// Class and Scope of the first verdict; both empty for a control.
	Class Class `json:"class"`
	Scope Scope `json:"scope,omitempty"`
	// Affected lists the vCPUs of the first verdict, and Evidence is the verdict's.
	// Both are empty in a stream that does not record them.
	Affected []int    `json:"affected,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	// FromNS is the time of the fault (T0), on the clock of the observations; 0 for a
	// control. A verdict before it is a false alarm. WithinNS is the longest time from
	// the fault to the right verdict; 0 for any time.
	FromNS   int64 `json:"from_ns,omitempty"`
	WithinNS int64 `json:"within_ns,omitempty"`
	// RemovedNS is the time at which the fault was removed, on the same clock; 0 if it
	// was not.
	RemovedNS int64 `json:"lifted_ns,omitempty"`
	// Dropped is how many observations are missing at the end of the stream, which the
	// recorder had no room for.
	Dropped int `json:"dropped,omitempty"`
	// Observations is how many follow; 0 in a stream whose recorder did not know. A stream
	// that has fewer was cut short: ReadStream refuses it.
	Observations int `json:"observations,omitempty"`
	// Thresholds are the values of the thresholds with which the verdict is right, by
	// name. The others have their defaults.
	Thresholds map[string]int64 `json:"thresholds,omitempty"`
	// CRC32C is the checksum of the stream, in eight hexadecimal digits: CRC-32C of its
	// bytes with eight zeros in this place, which is the end of the first line. A stream of
	// an earlier program has none. WriteStream sets it, ReadStream checks it and takes it
	// out.
	CRC32C string `json:"crc32c,omitempty"`
}

// StreamSchema is the version of the format of a stream.
const StreamSchema = 1

// Limits of a stream that ReadStream accepts.
const (
	maxLine         = 4 << 20 // bytes of one line
	maxObservations = 1 << 20
	maxVCPUs        = 512 // Xen's limit for HVM guests is 128
)

// Recorder writes a stream: the header and then the observations as JSON, one on
// each line.
type Recorder struct {
	w *bufio.Writer
	e *json.Encoder
}

// NewRecorder returns a Recorder that has written the header. It sets h.Schema.
func NewRecorder(w io.Writer, h Header) (*Recorder, error) {
	h.Schema = StreamSchema
	r := &Recorder{w: bufio.NewWriter(w)}
	r.e = json.NewEncoder(r.w)
	if err := r.e.Encode(&h); err != nil {
		return nil, fmt.Errorf("record the header: %w", err)
	}
	return r, nil
}

// Record writes an observation. The caller may reuse its memory afterwards.
func (r *Recorder) Record(o *Observation) error {
	if err := r.e.Encode(o); err != nil {
		return fmt.Errorf("record an observation: %w", err)
	}
	return nil
}

// Flush writes buffered data to the underlying writer.
func (r *Recorder) Flush() error {
	if err := r.w.Flush(); err != nil {
		return fmt.Errorf("record observations: %w", err)
	}
	return nil
}

// WriteStream writes a whole stream. It serves a recording whose header is known
// only at its end. It sets h.Observations and h.CRC32C.
func WriteStream(w io.Writer, h Header, stream []Observation) error {
	h.Observations, h.CRC32C = len(stream), noSum
	var text bytes.Buffer
	r, err := NewRecorder(&text, h)
	if err != nil {
		return err
	}
	for i := range stream {
		if err := r.Record(&stream[i]); err != nil {
			return err
		}
	}
	if err := r.Flush(); err != nil {
		return err
	}
	seal(text.Bytes())
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("record observations: %w", err)
	}
	return nil
}

// noSum stands in the place of a stream's checksum while it is computed.
const noSum = "00000000"

// castagnoli is the polynomial of CRC-32C (RFC 3720, appendix B.4).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf returns the place of the checksum in the first line of a stream.
func sumOf(line []byte) []byte {
	end := max(0, len(line)-len(`"}`))
	return line[max(0, end-len(noSum)):end]
}

// seal writes the checksum of a stream into the place of the zeros.
func seal(text []byte) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	copy(sumOf(line), fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)))
}

// ReadStream reads what a Recorder wrote. The error names the line. A last line
// without a newline is an error: the recorder died while it wrote that line. A stream
// that has a checksum and does not match it is an error.
func ReadStream(r io.Reader) (Header, []Observation, error) {
	var h Header
	var stream []Observation
	var checksum string // of the header
	sum := crc32.New(castagnoli)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	n := 0
	fail := func(err error) (Header, []Observation, error) {
		return Header{}, nil, fmt.Errorf("read stream, line %d: %w", n, err)
	}
	add := func(line []byte) {
		sum.Write(line)
		sum.Write([]byte("\n"))
	}
	for lines.Scan() {
		n++
		if n == 1 {
			if err := decode(lines.Bytes(), &h); err != nil {
				return fail(err)
			}
			if checksum, h.CRC32C = h.CRC32C, ""; checksum != "" {
				copy(sumOf(lines.Bytes()), noSum)
			}
			add(lines.Bytes())
			printable.Fields(&h)
			h.upgrade()
			if err := h.validate(); err != nil {
				return fail(err)
			}
			continue
		}
		add(lines.Bytes())
		var o Observation
		if err := decode(lines.Bytes(), &o); err != nil {
			return fail(err)
		}
		printable.Fields(&o)
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
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("it is longer than %d MiB, which no observation is", maxLine>>20)
		}
		return fail(err)
	}
	if n == 0 {
		return Header{}, nil, errors.New("read stream: it is empty")
	}
	if want := h.Observations; want != 0 && len(stream) != want {
		return Header{}, nil, fmt.Errorf("read stream: it has %d of the %d observations that were recorded: "+
			"copy or record it anew", len(stream), want)
	}
	if checksum != "" && checksum != fmt.Sprintf("%08x", sum.Sum32()) {
		return Header{}, nil, errors.New("read stream: it does not match its checksum, it was changed or damaged: copy or " +
			`record it anew, or if it was changed on purpose set its "crc32c" to ""`)
	}
	return h, stream, nil
}

// Replay gives a stream to a detector that has the header's thresholds, and returns
// the first verdict. If there is none, its class is empty and undecided says why
// (see Detector.Undecided). The error is about a threshold that is not valid.
func Replay(h Header, stream []Observation) (v Verdict, undecided []string, err error) {
	t := DefaultThresholds()
	if err := t.SetAll(h.Thresholds); err != nil {
		return Verdict{}, nil, fmt.Errorf("replay a stream: %w", err)
	}
	d := NewDetector(t)
	for i := range stream {
		if v, hung := d.Observe(&stream[i]); hung {
			return v, nil, nil
		}
	}
	return Verdict{}, d.Undecided(), nil
}

// upgrade fills Host, VCPUs, MemoryMiB and Guest of an older stream, which has them
// in its Comment: "host lab, 2 vCPU, 160 MiB, guest kernel 6.12.1".
func (h *Header) upgrade() {
	if h.Host != "" || h.VCPUs != 0 || h.MemoryMiB != 0 || h.Guest != "" {
		return
	}
	var old Header
	_, err := fmt.Sscanf(h.Comment, "host %s %d vCPU, %d MiB, guest kernel %s", &old.Host, &old.VCPUs, &old.MemoryMiB,
		&old.Guest)
	host, found := strings.CutSuffix(old.Host, ",")
	if err != nil || !found || old.VCPUs < 0 || old.VCPUs > maxVCPUs || old.MemoryMiB < 0 {
		return // a comment of another form
	}
	h.Host, h.VCPUs, h.MemoryMiB, h.Guest = host, old.VCPUs, old.MemoryMiB, old.Guest
}

func (h *Header) validate() error {
	if h.Schema != StreamSchema {
		return fmt.Errorf("schema is %d, not %d", h.Schema, StreamSchema)
	}
	switch {
	case h.Class != "" && !slices.Contains(Classes(), h.Class):
		return fmt.Errorf("class %q is unknown", h.Class)
	case h.Scope != "" && h.Scope != Partial && h.Scope != Full:
		return fmt.Errorf("scope %q is unknown", h.Scope)
	case h.Class == "" && h.Scope != "":
		return fmt.Errorf("scope %q without a class", h.Scope)
	case h.Class == "" && len(h.Affected)+len(h.Evidence) > 0:
		return errors.New("affected or evidence without a class")
	case h.WithinNS < 0:
		return fmt.Errorf("within_ns %d is negative", h.WithinNS)
	case h.VCPUs < 0 || h.VCPUs > maxVCPUs:
		return fmt.Errorf("vcpus %d is not in 0 to %d", h.VCPUs, maxVCPUs)
	case h.MemoryMiB < 0:
		return fmt.Errorf("memory_mib %d is negative", h.MemoryMiB)
	}
	t := DefaultThresholds()
	return t.SetAll(h.Thresholds)
}

// decode reads one JSON value that fills the line. An unknown key is an error,
// because its value would be lost.
func decode(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err == io.EOF {
		return errors.New("it is blank")
	} else if err != nil {
		return printable.JSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

// errCutShort says that a stream ends within a line.
var errCutShort = errors.New("it has no end: the stream was cut short, copy or record it anew")

// wholeLines splits at newlines. It refuses a last line without one.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errCutShort
	}
	return 0, nil, nil
}

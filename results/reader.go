package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"hangbench/results/printable"
)

// maxLine bounds one record. A trial is a few kilobytes; a longer line is
// damage, and must not make the reader hold a whole file in memory.
const maxLine = 1 << 20

// LineError is a line of a trials file that is not a believable record.
type LineError struct {
	File string // base name of the file, empty when read from a bare reader
	Line int    // from 1
	Torn bool   // the last line, without its newline: a write was cut short
	Err  error
}

func (e *LineError) Error() string {
	at := fmt.Sprintf("%s:%d", e.File, e.Line)
	if e.File == "" {
		at = fmt.Sprintf("line %d", e.Line)
	}
	if e.Torn {
		return fmt.Sprintf("%s: the write of the last record was cut short: %v", at, e.Err)
	}
	return fmt.Sprintf("%s: %v", at, e.Err)
}

func (e *LineError) Unwrap() error { return e.Err }

// ReadTrials yields the records of a trials file in file order, reading one
// line at a time. A line that is truncated, damaged or of an unknown schema
// yields a *LineError in its place and reading goes on; a failure of r itself
// is yielded last, as another error. Nothing is dropped in silence.
func ReadTrials(r io.Reader) iter.Seq2[Trial, error] {
	return func(yield func(Trial, error) bool) {
		for rec, err := range scan(r, "") {
			if !yield(rec.trial, err) {
				return
			}
		}
	}
}

// record is a trial with the bytes it was read from, without the newline.
// The store copies bytes rather than encoding again, so that a field written
// by a newer program of the same schema survives.
type record struct {
	trial Trial
	raw   []byte
}

func scan(r io.Reader, file string) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		br := bufio.NewReaderSize(r, 64<<10)
		for line := 1; ; line++ {
			raw, complete, err := readLine(br)
			if err != nil && !errors.Is(err, io.EOF) {
				yield(record{}, fmt.Errorf("read trials at line %d: %w", line, err))
				return
			}
			if err != nil && len(raw) == 0 {
				return
			}
			var rec record
			perr := errTooLong
			if complete {
				rec, perr = parseLine(raw)
			}
			if perr != nil {
				perr = &LineError{File: file, Line: line, Torn: err != nil, Err: perr}
				rec = record{}
			}
			if !yield(rec, perr) || err != nil {
				return
			}
		}
	}
}

var errTooLong = fmt.Errorf("longer than %d bytes, which no record is", maxLine)

// readLine returns the next line without its newline. complete is false when
// the line was longer than maxLine; it is then read past, not kept.
func readLine(br *bufio.Reader) (line []byte, complete bool, err error) {
	complete = true
	for {
		part, err := br.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			complete = false
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), complete, err
	}
}

func parseLine(raw []byte) (record, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return record{}, errors.New("empty line")
	}
	// The schema is read first and leniently: a record of another schema
	// may well not fit this program's types.
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return record{}, fmt.Errorf("not a trial record: %w", printable.JSON(err))
	}
	if head.Schema == nil {
		return record{}, errors.New("not a trial record: no schema")
	}
	if *head.Schema != Schema {
		return record{}, schemaError(*head.Schema, Schema)
	}
	var t Trial
	if err := json.Unmarshal(raw, &t); err != nil {
		return record{}, fmt.Errorf("not a trial record: %w", printable.JSON(err))
	}
	if err := t.upgrade(raw); err != nil {
		return record{}, err
	}
	printable.Fields(&t)
	if err := t.Validate(); err != nil {
		return record{}, err
	}
	return record{trial: t, raw: raw}, nil
}

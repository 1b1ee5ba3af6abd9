package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/bench/exit"
	"hangbench/monitor/detect"
	"hangbench/results"
)

// streamBytes is the largest size of a stream that tests of the detector replay.
const streamBytes = 48 << 10

// recordStream records what tests of the detector replay: the stream of a scenario,
// or, of a stream's file, that of the scenario and the vCPUs in its header.
func (t *timelineFlags) recordStream(ctx context.Context, a *app, what string) (err error) {
	scenario := what
	if strings.HasSuffix(what, ".jsonl") {
		old, err := readInput(ctx, func() (recording, error) { return readStream(what) })
		if err != nil {
			return fmt.Errorf("record a stream anew: %w", err)
		}
		scenario, t.vcpus = old.header.Scenario, old.header.VCPUs
	}
	if err := t.check(scenario); err != nil {
		return err
	}
	path := filepath.Join(t.streams, fmt.Sprintf("%s-%d.jsonl", scenario, t.vcpus))
	old, err := readStream(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return exit.UsageError{Err: fmt.Errorf("record a stream: %w", err)}
	}
	h, err := t.lab.host(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	header, stream, err := h.RecordStream(ctx, scenario, t.vcpus, a.log)
	if err != nil {
		return err
	}
	if err := keepStream(path, old.header, header, stream); err != nil {
		return err
	}
	a.display.End()
	fmt.Fprintln(a.out, path)
	return nil
}

// recording is a recorded stream.
type recording struct {
	header       detect.Header
	observations []detect.Observation
}

// readStream reads a recorded stream.
func readStream(path string) (r recording, err error) {
	f, err := results.OpenFile(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if r.header, r.observations, err = detect.ReadStream(f); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// keepStream writes a stream to a file. old is the header of the stream that the
// file holds; its Schema is 0 if there is none. keepStream does not replace a stream
// by one of another verdict, and does not write one that is too large to commit.
func keepStream(path string, old, h detect.Header, stream []detect.Observation) error {
	if old.Schema != 0 && (old.Class != h.Class || old.Scope != h.Scope || !slices.Equal(old.Affected, h.Affected)) {
		return fmt.Errorf("record %s: the verdict is %q %s on vCPUs %v; the file has %q %s on vCPUs %v "+
			"(remove it if the new one is right)",
			path, h.Class, h.Scope, h.Affected, old.Class, old.Scope, old.Affected)
	}
	var b bytes.Buffer
	if err := detect.WriteStream(&b, h, stream); err != nil {
		return fmt.Errorf("record %s: %w", path, err)
	}
	if b.Len() > streamBytes {
		return fmt.Errorf("record %s: the stream is %d bytes, more than %d", path, b.Len(), streamBytes)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the streams: %w", err)
	}
	if err := results.ReplaceFile(path, b.Bytes()); err != nil {
		return fmt.Errorf("write the stream: %w", err)
	}
	return nil
}

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/monitor/detect"
)

// TestKeepStream: a recorded stream replaces one of the same verdict only.
func TestKeepStream(t *testing.T) {
	t.Parallel()
	recorded, err := readStream(stream("hard-lockup-partial-2"))
	if err != nil {
		t.Fatal(err)
	}
	h := recorded.header
	observations := []detect.Observation{{TimeNS: 5}}
	path := filepath.Join(t.TempDir(), "new", "x.jsonl")
	if err := keepStream(path, detect.Header{}, h, observations); err != nil {
		t.Fatal(err)
	}
	if old, err := readStream(path); err != nil || old.header.Scenario != h.Scenario || old.header.Class != "hard" {
		t.Errorf("%+v, %v", old, err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(h *detect.Header)
		want   string
	}{
		{"class", func(h *detect.Header) { h.Class = "soft" },
			`the verdict is "soft" partial on vCPUs [1]; the file has "hard" partial`},
		{"scope", func(h *detect.Header) { h.Scope = "full" }, `"hard" full`},
		{"vCPUs", func(h *detect.Header) { h.Affected = []int{0, 1} }, "on vCPUs [0 1]"},
		{"size", func(h *detect.Header) { h.Comment = strings.Repeat("x", streamBytes) }, "more than 49152"},
	} {
		changed := h
		tc.change(&changed)
		if err := keepStream(path, h, changed, observations); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
			t.Errorf("%s: the file has changed (%v)", tc.name, err)
		}
	}
	observations = append(observations, detect.Observation{TimeNS: 6})
	if err := keepStream(path, h, h, observations); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || len(after) <= len(before) {
		t.Errorf("%d bytes after %d (%v)", len(after), len(before), err)
	}
}

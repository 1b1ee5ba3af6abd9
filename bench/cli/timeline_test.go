package cli

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/bench/exit"
	"hangbench/monitor/detect"
)

// stream is the path of a stream that was recorded in the lab.
func stream(name string) string {
	return filepath.Join("..", "..", "monitor", "detect", "testdata", "streams", name+".jsonl")
}

func TestTimeline(t *testing.T) {
	for _, tc := range []struct{ name, verdict, guest string }{
		{"spinlock-deadlock-1", "the verdict, spin, came 0.", "guest: 1 vCPU, 160 MiB, 6.12.118+deb13-cloud-amd64."},
		{"hard-lockup-partial-2", "the verdict, hard, came 0.", "guest: 2 vCPU, 160 MiB, 6.12.118+deb13-cloud-amd64."},
		{"control-busy-1", "There was no fault", "guest: 1 vCPU, 160 MiB, 6.12.118+deb13-cloud-amd64."},
	} {
		out := filepath.Join(t.TempDir(), "new")
		status, stdout, stderr := hangbench(t, "timeline", stream(tc.name), "--out", out)
		if status != exit.Done || stderr != "" {
			t.Fatalf("%s: status %d, stderr %q", tc.name, status, stderr)
		}
		paths := strings.Fields(stdout)
		if len(paths) != 5 {
			t.Errorf("%s: files %q", tc.name, paths)
		}
		for _, path := range paths {
			if st, err := os.Stat(path); err != nil || st.Size() == 0 {
				t.Errorf("%s: %s is empty or not there (%v)", tc.name, path, err)
			}
		}
		caption, err := os.ReadFile(filepath.Join(out, "timeline.txt"))
		if err != nil || !strings.Contains(string(caption), tc.verdict) || !strings.HasPrefix(string(caption), "host: lab (emulated; virtual time)") ||
			!strings.Contains(string(caption), tc.guest) {
			t.Errorf("%s: caption %s (%v)", tc.name, caption, err)
		}
		values, err := os.ReadFile(filepath.Join(out, "timeline.csv"))
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := csv.NewReader(strings.NewReader(string(values))).ReadAll(); err != nil || len(rows) < 10 {
			t.Errorf("%s: %d rows of CSV, %v", tc.name, len(rows), err)
		}
	}
}

// TestTimelineHeader: a time line takes the thresholds, the host and the guest from
// the header of its stream.
func TestTimelineHeader(t *testing.T) {
	b, err := os.ReadFile(stream("spinlock-deadlock-1"))
	if err != nil {
		t.Fatal(err)
	}
	header, observations, err := detect.ReadStream(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	before, err := timeline(&header, observations)
	if err != nil {
		t.Fatal(err)
	}
	// An older stream has host and guest in its comment.
	reference, err := readHeader(filepath.Join("..", "..", "results", "reference", "timeline", streamFile))
	if err != nil || reference.Comment == "" {
		t.Fatalf("%+v, %v", reference, err)
	}
	if line, err := timeline(&reference, observations); err != nil || line.Host != "lab" ||
		line.Guest != "1 vCPU, 160 MiB, 6.12.118+deb13-cloud-amd64" {
		t.Errorf("host %q, guest %q, %v", line.Host, line.Guest, err)
	}
	header.Host, header.VCPUs, header.MemoryMiB, header.Guest = "xen", 3, 512, "6.1.0"
	header.Thresholds = map[string]int64{"spin_ms": 800}
	after, err := timeline(&header, observations)
	if err != nil {
		t.Fatal(err)
	}
	if after.Host != "xen" || after.Guest != "3 vCPU, 512 MiB, 6.1.0" {
		t.Errorf("host %q, guest %q", after.Host, after.Guest)
	}
	if later := after.VerdictNS - before.VerdictNS; after.Verdict != "spin" || later < 200e6 || later > 400e6 {
		t.Errorf("the verdict, %s, is %d ms later with a threshold of 300 ms more", after.Verdict, later/1e6)
	}
	header.Thresholds = map[string]int64{"spin_ms": -1}
	if _, err := timeline(&header, observations); err == nil || !strings.Contains(err.Error(), "spin_ms") {
		t.Errorf("a threshold that is not valid: %v", err)
	}
	header.Thresholds, header.Host, header.Comment = nil, "", "a guest in the field"
	if line, err := timeline(&header, observations); err != nil || line.Host != "xen" || line.Guest != "a guest in the field" {
		t.Errorf("%+v, %v", line, err)
	}
}

func TestTimelineUsage(t *testing.T) {
	bad := writeFile(t, filepath.Join(t.TempDir(), "bad.jsonl"), "{}\n")
	damaged := t.TempDir()
	writeFile(t, filepath.Join(damaged, "spinlock-deadlock-1.jsonl"), "{}\n")
	empty := writeFile(t, filepath.Join(t.TempDir(), "empty.jsonl"), "{\"schema\":1,\"class\":\"\"}\n")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "0 arguments"},
		{[]string{"no-such-scenario"}, "no-such-scenario"},
		{[]string{"no-such.jsonl"}, "no-such.jsonl"},
		{[]string{bad}, bad},
		{[]string{empty}, empty},
		{[]string{"spinlock-deadlock", "--mechanism", "none"}, "nothing is observed"},
		{[]string{"spinlock-deadlock", "--mechanism", "magic"}, "--mechanism magic"},
		{[]string{"spinlock-deadlock", "--vcpus", "9"}, "--vcpus 9"},
		{[]string{"spinlock-deadlock", "--record", empty, "--seed", "2"}, "--seed: not with --record"},
		{[]string{"no-such-scenario", "--record", t.TempDir()}, "no-such-scenario"},
		{[]string{"no-such.jsonl", "--record", t.TempDir()}, "no-such.jsonl"},
		{[]string{bad, "--record", t.TempDir()}, bad},
		{[]string{"spinlock-deadlock", "--record", damaged}, "spinlock-deadlock-1.jsonl"},
	} {
		status, stdout, stderr := hangbench(t, append([]string{"timeline"}, tc.args...)...)
		if status != exit.Usage || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, stdout %q, stderr %q", tc.args, status, stdout, stderr)
		}
	}
}

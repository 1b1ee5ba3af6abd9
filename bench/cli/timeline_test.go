package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/monitor/detect"
)

// stream is the path of a stream that was recorded in the lab.
func stream(name string) string {
	return filepath.Join("..", "..", "monitor", "detect", "testdata", "streams", name+".jsonl")
}

// TestTimelineHeader: a time line takes the thresholds, the host and the guest from
// the header of its stream.
func TestTimelineHeader(t *testing.T) {
	t.Parallel()
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
	recorded, err := readStream(filepath.Join("..", "..", "results", "reference", "timeline", streamFile))
	reference := recorded.header
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
	line, err := timeline(&header, observations)
	if err != nil || line.Host != "xen" || line.Guest != "a guest in the field" {
		t.Errorf("%+v, %v", line, err)
	}
}

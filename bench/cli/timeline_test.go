package cli

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stream is the path of a stream that was recorded in the lab.
func stream(name string) string {
	return filepath.Join("..", "..", "monitor", "detect", "testdata", "streams", name+".jsonl")
}

func TestTimeline(t *testing.T) {
	for _, tc := range []struct{ name, verdict string }{
		{"spinlock-deadlock-1", "the verdict, spin, came 0."},
		{"hard-lockup-partial-2", "the verdict, hard, came 0."},
		{"control-busy-1", "There was no fault"},
	} {
		out := filepath.Join(t.TempDir(), "new")
		status, stdout, stderr := hangbench(t, "timeline", stream(tc.name), "--out", out)
		if status != ExitDone || stderr != "" {
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
		if err != nil || !strings.Contains(string(caption), tc.verdict) || !strings.HasPrefix(string(caption), "host: lab (emulated; virtual time)") {
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

func TestTimelineUsage(t *testing.T) {
	bad := writeFile(t, filepath.Join(t.TempDir(), "bad.jsonl"), "{}\n")
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
	} {
		status, stdout, stderr := hangbench(t, append([]string{"timeline"}, tc.args...)...)
		if status != ExitUsage || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, stdout %q, stderr %q", tc.args, status, stdout, stderr)
		}
	}
}

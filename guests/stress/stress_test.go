package stress

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWorkloads(t *testing.T) {
	t.Parallel()
	if n := len(kinds()); n != int(workloads) {
		t.Fatalf("%d kinds of %d workloads", n, workloads)
	}
	seen := map[string]bool{}
	for w := Null; w < workloads; w++ {
		if !w.Known() || w.String() == "" || seen[w.String()] || w.Op() == "" {
			t.Errorf("%d is %q, one operation is %q", w, w, w.Op())
		}
		seen[w.String()] = true
		args := w.Args(2, 3, "/tmp/out")
		if (w.Stressor() == "") != (args == nil) || (w == Null) != (args == nil) {
			t.Errorf("%s: stressor %q, arguments %q", w, w.Stressor(), args)
		}
		if args == nil {
			continue
		}
		line := strings.Join(args, " ")
		dir := "--temp-path /tmp"
		if w == Disk {
			dir = "--temp-path /mnt"
		}
		for _, want := range []string{"--" + w.Stressor() + " 2", "--timeout 3s", "--no-rand-seed", "--yaml /tmp/out", dir} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: %q lacks %q", w, line, want)
			}
		}
	}
	for _, w := range []Workload{None, workloads, 1 << 63} {
		if w.Known() || w.Op() != "" || w.Stressor() != "" || w.Args(1, 1, "x") != nil || w.String() == "" {
			t.Errorf("%d passes for a workload", uint64(w))
		}
	}
}

func recorded(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/switch.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestParse parses the results of stress-ng in a guest of two vCPUs.
func TestParse(t *testing.T) {
	t.Parallel()
	got, err := Parse([]byte(recorded(t)))
	want := Result{Version: 1902, Stressor: "switch", Ops: 2268, Real: 1058742 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if got.Version.String() != "0.19.02" {
		t.Errorf("version %s", got.Version)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	text := recorded(t)
	edit := func(old, new string) string {
		s := strings.Replace(text, old, new, 1)
		if s == text {
			t.Fatalf("%q is not in the recording", old)
		}
		return s
	}
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "no system-info: stress-ng-version"},
		{"cut off", text[:strings.Index(text, "metrics:")], "no metrics: - stressor"},
		{"cut off in the metrics", text[:strings.Index(text, "      wall-clock-time")], "no metrics: wall-clock-time"},
		{"no version", edit("stress-ng-version: '0.19.02'", "stress-ng-version: 'today'"),
			`stress-ng-version: "today" is no version`},
		{"odd version", edit("0.19.02", "0.019.2"), "is no version"},
		{"large version", edit("0.19.02", "0.190.02"), "is no version"},
		{"name", edit("stressor: switch", "stressor: ../x"), `"../x" is no name`},
		{"negative", edit("bogo-ops: 2268", "bogo-ops: -1"), "bogo-ops"},
		{"fraction", edit("bogo-ops: 2268", "bogo-ops: 1.5"), "bogo-ops"},
		{"many", edit("bogo-ops: 2268", "bogo-ops: 9999999999999999"), "out of range"},
		{"overflow", edit("bogo-ops: 2268", "bogo-ops: 99999999999999999999"), "out of range"},
		{"no time", edit("1.058742", "0.000000"), "out of range"},
		{"long time", edit("1.058742", "3601.0"), "out of range"},
		{"not a number", edit("1.058742", "nan"), "no seconds"},
		{"sign", edit("1.058742", "-1.058742"), "no seconds"},
		{"exponent", edit("1.058742", "1.0e9"), "no seconds"},
		{"no decimals", edit("1.058742", "1"), "no seconds"},
		{"two stressors", edit("...", "    - stressor: fork\n..."), "- stressor twice"},
		{"twice", edit("bogo-ops: 2268", "bogo-ops: 2268\n      bogo-ops: 2269"), "bogo-ops twice"},
		{"keys that are not known", edit("      user-time", "      user"), ""},
		{"no value", edit("user-time: ", "user-time"), "no key and value"},
		{"too long", text + strings.Repeat(" ", mostBytes), "bytes"},
	} {
		got, err := Parse([]byte(tc.text))
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, %v, want %q", tc.name, got, err, tc.want)
		}
	}
}

// TestParseSections: keys count in their own section only.
func TestParseSections(t *testing.T) {
	t.Parallel()
	lines := strings.Split(recorded(t), "\n")
	i := slices.Index(lines, "metrics:")
	lines[i] = "other:"
	if r, err := Parse([]byte(strings.Join(lines, "\n"))); err == nil {
		t.Errorf("the metrics of another section passed: %+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(recorded(f)))
	f.Add([]byte("metrics:\n    - stressor: x\n      bogo-ops: 1\n      wall-clock-time: 0.1\nsystem-info:\n  " +
		"stress-ng-version: '9.99.99'\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if r.Real <= 0 || r.Real > MostReal || r.Ops > MostOps || r.Version == 0 || r.Version > MostVersion ||
			!isName(r.Stressor) {
			t.Errorf("%+v is out of range", r)
		}
		if v, err := parseVersion(r.Version.String()); err != nil || v != r.Version {
			t.Errorf("version %d reads back as %d, %v", r.Version, v, err)
		}
	})
}

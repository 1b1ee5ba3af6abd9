package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"hangbench/results/printable"
)

func readAll(r io.Reader) (trials []Trial, errs []error) {
	for t, err := range ReadTrials(r) {
		if err != nil {
			errs = append(errs, err)
		} else {
			trials = append(trials, t)
		}
	}
	return trials, errs
}

func TestReadTrialsRoundTrip(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	for i := range 3 {
		file.Write(testLine(t, i))
	}
	trials, errs := readAll(&file)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for i, got := range trials {
		if want := testTrial(i); !reflect.DeepEqual(got, want) {
			t.Errorf("trial %d: read %+v, wrote %+v", i, got, want)
		}
	}
	if len(trials) != 3 {
		t.Fatalf("read %d trials, wrote 3", len(trials))
	}
}

func TestReadTrialsBadLines(t *testing.T) {
	t.Parallel()
	good := string(testLine(t, 0))
	edit := func(old, new string) string {
		s := strings.Replace(good, old, new, 1)
		if s == good {
			t.Fatalf("%q is not in the record", old)
		}
		return s
	}
	for _, tc := range []struct {
		name, line, want string
	}{
		{"empty", "\n", "empty line"},
		{"blank", "  \t\n", "empty line"},
		{"not json", "hello\n", "not a trial record"},
		{"null", "null\n", "no schema"},
		{"array", "[1]\n", "not a trial record"},
		{"zero bytes", strings.Repeat("\x00", 80) + "\n", "not a trial record"},
		{"two records", strings.TrimSuffix(good, "\n") + good, "not a trial record"},
		{"half", good[:len(good)/2] + "\n", "not a trial record"},
		{"no schema", edit(`"schema":1,`, ``), "no schema"},
		{"new schema", edit(`"schema":1`, `"schema":2`), "unknown schema 2, this program reads 1"},
		{"new schema, new types", edit(`"schema":1`, `"schema":2,"seed":"x"`), "unknown schema 2"},
		{"wrong type", edit(`"vcpus":1`, `"vcpus":"one"`), "not a trial record"},
		{"negative index", edit(`"trial":0`, `"trial":-1`), "negative"},
		{"outcome", edit(`"detected"`, `"maybe"`), `outcome "maybe"`},
		{"no latency", edit(`"detect_ns":150000000,`, ``), "without detect_ns"},
		{"early", edit(`"detect_ns":150000000,`, `"detect_ns":-7,`), "detect_ns -7"},
		{"no reason", edit(`"detected"`, `"invalid"`), "without a reason"},
		{"sum", edit(`"total":1400`, `"total":1401`), "add up to 1400"},
		{"negative window", edit(`"window_ns":1200000000`, `"window_ns":-1`), "window_ns -1"},
		{"negative deadline", edit(`"deadline_ns":3000000000`, `"deadline_ns":-3`), "deadline_ns -3"},
		{"negative progress", edit(`"progress_ratio":0.8125`, `"progress_ratio":-0.5`), "progress_ratio -0.5"},
		{"overlong", `{"schema":1,"suite":"` + strings.Repeat("x", maxLine) + "\"}\n", "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trials, errs := readAll(strings.NewReader(good + tc.line + string(testLine(t, 1))))
			if len(trials) != 2 || trials[0].Trial != 0 || trials[1].Trial != 1 {
				t.Errorf("read %d trials, want the two around the bad line", len(trials))
			}
			if len(errs) != 1 {
				t.Fatalf("errors %v, want one", errs)
			}
			le, ok := errors.AsType[*LineError](errs[0])
			if !ok || le.Line != 2 || le.Torn {
				t.Errorf("error %#v, want a LineError of line 2", errs[0])
			}
			if !strings.Contains(errs[0].Error(), tc.want) || !strings.HasPrefix(errs[0].Error(), "line 2: ") {
				t.Errorf("error %q does not say %q at line 2", errs[0], tc.want)
			}
		})
	}
}

// TestReadTrialsPrintable: a record's strings can be printed, whoever wrote them, and the
// record is kept.
func TestReadTrialsPrintable(t *testing.T) {
	t.Parallel()
	const bad = "\x1b[31m\u202e\nx"
	tr := testTrial(0)
	tr.Scenario, tr.Mechanism, tr.GuestKernel, tr.Class, tr.BackedOut = bad, bad, bad, bad, bad
	tr.Evidence = []string{"good", bad}
	tr.Findings = []Finding{{Observer: bad, Task: bad, Evidence: []string{bad}}}
	tr.Console = "two\nlines"
	line, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	trials, errs := readAll(bytes.NewReader(append(line, '\n')))
	if len(errs) != 0 || len(trials) != 1 {
		t.Fatalf("%d trials, %v", len(trials), errs)
	}
	want := tr
	printable.Fields(&want)
	if want.Evidence[1] != `\x1b[31m\u202e\nx` || !reflect.DeepEqual(trials[0], want) {
		t.Errorf("read %+v\nwant %+v", trials[0], want)
	}
	if trials[0].Console != tr.Console {
		t.Errorf("the console is %q", trials[0].Console)
	}
}

// A record cut at any byte is reported as torn, except when only its newline
// is gone, and the record before it is never touched.
func TestReadTrialsTruncatedAnywhere(t *testing.T) {
	t.Parallel()
	first, last := testLine(t, 0), testLine(t, 1)
	for cut := range last {
		trials, errs := readAll(io.MultiReader(bytes.NewReader(first), bytes.NewReader(last[:cut])))
		switch cut {
		case 0:
			if len(trials) != 1 || len(errs) != 0 {
				t.Fatalf("cut 0: %d trials, errors %v", len(trials), errs)
			}
		case len(last) - 1:
			if len(trials) != 2 || len(errs) != 0 {
				t.Fatalf("without newline: %d trials, errors %v", len(trials), errs)
			}
		default:
			if len(trials) != 1 || len(errs) != 1 {
				t.Fatalf("cut %d: %d trials, errors %v", cut, len(trials), errs)
			}
			if le, ok := errors.AsType[*LineError](errs[0]); !ok || !le.Torn || le.Line != 2 {
				t.Fatalf("cut %d: %#v is not a torn line 2", cut, errs[0])
			}
		}
	}
}

func TestReadTrialsReaderFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("disk on fire")
	trials, errs := readAll(io.MultiReader(bytes.NewReader(testLine(t, 0)), iotest.ErrReader(boom)))
	if len(trials) != 1 || len(errs) != 1 || !errors.Is(errs[0], boom) {
		t.Fatalf("%d trials, errors %v", len(trials), errs)
	}
	if _, isLine := errors.AsType[*LineError](errs[0]); isLine {
		t.Error("a failing reader is reported as a bad line")
	}
}

func TestReadTrialsStopsWhenAsked(t *testing.T) {
	t.Parallel()
	for range ReadTrials(strings.NewReader("x\ny\nz\n")) {
		break // must not panic by yielding again
	}
}

func FuzzReadTrials(f *testing.F) {
	good := testLine(f, 0)
	f.Add(good)
	f.Add(good[:len(good)-9])
	f.Add([]byte("{}\n\n{\"schema\":1}\n"))
	f.Add([]byte("{\"schema\":1e400}\n\x00\xff\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		trials, errs := readAll(bytes.NewReader(data))
		lines := bytes.Count(data, []byte("\n"))
		if len(data) > 0 && data[len(data)-1] != '\n' {
			lines++
		}
		if len(trials)+len(errs) != lines {
			t.Fatalf("%d trials and %d errors of %d lines", len(trials), len(errs), lines)
		}
		for _, tr := range trials {
			if err := tr.Validate(); err != nil {
				t.Fatalf("reader passed an invalid trial: %v", err)
			}
		}
		for _, err := range errs {
			le, ok := errors.AsType[*LineError](err)
			if !ok || le.Line < 1 || le.Line > lines {
				t.Fatalf("error %v names no line of %d", err, lines)
			}
		}
		// One byte at a time must read the same.
		again, errs2 := readAll(iotest.OneByteReader(bytes.NewReader(data)))
		if fmt.Sprint(again) != fmt.Sprint(trials) && len(again) != len(trials) || len(errs2) != len(errs) {
			t.Fatal("reading by single bytes gives another result")
		}
	})
}

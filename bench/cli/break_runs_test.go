package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/results"
)

// brokenRun is a run whose files are changed before they are written.
type brokenRun struct {
	t        *testing.T
	dir      string
	trials   []byte
	manifest []byte
}

// newBrokenRun returns a made-up run of so many of 8 trials without checksums, as an older program
// wrote it: what is impossible has to be found without them.
func newBrokenRun(t *testing.T, trials int) *brokenRun {
	t.Helper()
	store, err := createRun(t.TempDir(), "lab")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range madeUpPlan()[:trials] {
		if err := store.Append(madeUpRecord(p), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(madeUpStart.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r := &brokenRun{t: t, dir: store.Dir()}
	if r.trials, err = os.ReadFile(r.path(results.TrialsFile)); err != nil {
		t.Fatal(err)
	}
	if r.manifest, err = os.ReadFile(r.path(results.ManifestFile)); err != nil {
		t.Fatal(err)
	}
	r.dropManifestSum()
	if err := os.Remove(r.path(results.SumsFile)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *brokenRun) path(name string) string { return filepath.Join(r.dir, name) }

// write writes the files. What change has put in their place stays.
func (r *brokenRun) write() {
	r.t.Helper()
	for name, data := range map[string][]byte{results.TrialsFile: r.trials, results.ManifestFile: r.manifest} {
		if info, err := os.Lstat(r.path(name)); data == nil || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err := os.WriteFile(r.path(name), data, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// replace puts something else in the place of a file.
func (r *brokenRun) replace(name string, by func(path string) error) {
	r.t.Helper()
	if err := os.Remove(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
	if err := by(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
	switch name {
	case results.TrialsFile:
		r.trials = nil
	case results.ManifestFile:
		r.manifest = nil
	}
}

// object changes a JSON object.
func (r *brokenRun) object(text []byte, change func(map[string]any)) []byte {
	r.t.Helper()
	var o map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		r.t.Fatal(err)
	}
	change(o)
	out, err := json.Marshal(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// put sets a field, whose path has dots, of an object.
func put(o map[string]any, path string, value any) {
	head, rest, deep := strings.Cut(path, ".")
	if !deep {
		o[head] = value
		return
	}
	inner, _ := o[head].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		o[head] = inner
	}
	put(inner, rest, value)
}

func (r *brokenRun) dropManifestSum() {
	r.manifest = r.object(r.manifest, func(o map[string]any) { delete(o, "crc32c") })
}

// man sets a field of the manifest.
func man(path string, value any) func(*brokenRun) {
	return func(r *brokenRun) {
		r.manifest = r.object(r.manifest, func(o map[string]any) { put(o, path, value) })
	}
}

// rawMan replaces the manifest.
func rawMan(text string) func(*brokenRun) { return func(r *brokenRun) { r.manifest = []byte(text) } }

// detected is the line of the first record of a fault that was detected.
const detected = `"detected"`

// set sets fields of the first record of a fault that was detected.
func set(pathsAndValues ...any) func(*brokenRun) {
	return func(r *brokenRun) {
		lines := bytes.SplitAfter(r.trials, []byte("\n"))
		i := slices.IndexFunc(lines, func(l []byte) bool { return bytes.Contains(l, []byte(detected)) })
		lines[i] = append(r.object(lines[i], func(o map[string]any) {
			for k := 0; k < len(pathsAndValues); k += 2 {
				put(o, pathsAndValues[k].(string), pathsAndValues[k+1])
			}
		}), '\n')
		r.trials = bytes.Join(lines, nil)
	}
}

// raw changes the bytes of the trials.
func raw(change func([]byte) []byte) func(*brokenRun) {
	return func(r *brokenRun) { r.trials = change(r.trials) }
}

// breakRuns gives "report" and "resume" runs with files that are damaged or impossible.
func breakRuns(t *testing.T, all *attempts) {
	for _, tc := range brokenRuns() {
		t.Run(tc.id, func(t *testing.T) {
			t.Parallel()
			r := newBrokenRun(t, len(madeUpPlan()))
			tc.change(r)
			r.write()
			e := attempt(t, "report", r.dir, "--format", "md")
			all.note("r_"+tc.id, e.check([]int{tc.status}, []string{tc.says}))
		})
	}
	for _, tc := range brokenResumes() {
		t.Run(tc.id, func(t *testing.T) {
			t.Parallel()
			r := newBrokenRun(t, tc.trials)
			tc.change(r)
			r.write()
			// Nothing is built: a run that could go on needs the lab's source.
			args := append([]string{"resume", r.dir, "--source", t.TempDir(), "--cache", t.TempDir()}, tc.flags...)
			e := attempt(t, args...)
			err := e.check([]int{tc.status}, []string{tc.says})
			for name, was := range map[string][]byte{results.TrialsFile: r.trials, results.ManifestFile: r.manifest} {
				if is, rerr := os.ReadFile(r.path(name)); was != nil && (rerr != nil || !bytes.Equal(is, was)) {
					err = errors.Join(err, fmt.Errorf("%s has changed, %v", name, rerr))
				}
			}
			all.note(tc.id, err)
		})
	}
}

// brokenResume is a change of a run that is not whole, and what "resume" does then.
type brokenResume struct {
	id     string
	trials int
	change func(*brokenRun)
	flags  []string
	status int
	says   string
}

func brokenResumes() []brokenResume {
	none := func(*brokenRun) {}
	gone := func(r *brokenRun) { r.dir = r.path("gone"); r.trials, r.manifest = nil, nil }
	return []brokenResume{
		{"z01", 4, gone, nil, 2, "a run is a folder with a manifest.json"},
		{"z02", 4, man("suite.text", "garbage: ["), nil, 2, "the suite's text has the SHA-256"},
		{"z03", 4, suiteText(strings.Replace(madeUpSuite, "repetitions: 2", "repetitions: 1", 1)), nil, 2,
			"run the suite anew"},
		{"z04", 4, suiteText(""), nil, 2, "the file is empty"},
		{"z05", 4, man("seed", 999), nil, 2, "run the suite anew"},
		{"z06", 4, man("schema", 2), nil, 2, "unknown schema 2"},
		{"z07", 4, man("host.kind", "xen"), nil, 3, "make build-xen"},
		{"z08", 4, none, []string{"--host", "xen"}, 2, "ran on host lab and cannot go on on xen"},
		{"z09", 8, man("suite.name", "<b>"), nil, 2, "one of them was changed or damaged"},
		{"z10", 8, man("suite.name", "../../../x"), nil, 2, "one of them was changed or damaged"},
		{"z11", 4, func(r *brokenRun) {
			r.replace(results.TrialsFile, func(path string) error { return os.Mkdir(path, 0o700) })
		}, nil, 2, "trials.jsonl is no regular file"},
		{"z12", 4, none, []string{"--seed", "4"}, 2, "resume: unknown flag: --seed"},
		{"z13", 4, none, []string{"--out", "x"}, 2, "resume: unknown flag: --out"},
		{"z14", 4, func(r *brokenRun) { man("planned", 2)(r); man("trial_wall_sec", []int{0, 0})(r) }, nil, 2,
			"plans 2 trials, its suite 8"},
		{"z15", 4, man("plan_sha256", ""), nil, 2, "that is not the root of hangbench's source"},
	}
}

// suiteText sets the suite's text, and its hash.
func suiteText(text string) func(*brokenRun) {
	return func(r *brokenRun) {
		man("suite.text", text)(r)
		man("suite.sha256", results.NewSuiteInfo("", []byte(text)).SHA256)(r)
	}
}

// brokenRunCase is a change of a run, and what "report" does then.
type brokenRunCase struct {
	id     string
	change func(*brokenRun)
	status int
	says   string
}

func brokenRuns() []brokenRunCase {
	firstLine := func(b []byte) []byte { return b[:bytes.IndexByte(b, '\n')+1] }
	return []brokenRunCase{
		{"ok", func(*brokenRun) {}, 0, "| spinlock-deadlock |"},
		{"nomanifest", func(r *brokenRun) { r.replace(results.ManifestFile, func(string) error { return nil }) }, 2,
			"a run is a folder with a manifest.json"},
		{"emptydir", func(r *brokenRun) {
			r.replace(results.ManifestFile, func(string) error { return nil })
			r.replace(results.TrialsFile, func(string) error { return nil })
		}, 2, "a run is a folder with a manifest.json"},
		{"notrials", func(r *brokenRun) { r.replace(results.TrialsFile, func(string) error { return nil }) }, 2,
			"has no trials yet"},
		{"emptytrials", raw(func([]byte) []byte { return []byte{} }), 2, "has no trials yet"},
		{"dup", raw(func(b []byte) []byte { return append(b, firstLine(b)...) }), 0, "| spinlock-deadlock |"},
		{"dupdiff", raw(func(b []byte) []byte {
			return append(b, bytes.Replace(firstLine(b), []byte("612"), []byte("613"), 1)...)
		}), 0, "trials.jsonl:9: trial 0 has another record already, and they differ: the first stands; left out"},
		{"reorder", raw(func(b []byte) []byte {
			lines := slices.Collect(bytes.Lines(b))
			slices.Reverse(lines)
			return bytes.Join(lines, nil)
		}), 0, "| spinlock-deadlock |"},
		{"nul", raw(func(b []byte) []byte { copy(b[300:], "\x00\x00\x00"); return b }), 0,
			"trials.jsonl:1: not a trial record: invalid character '\\x00'"},
		{"nulline", raw(func(b []byte) []byte { return append(append(b, make([]byte, 1000)...), '\n') }), 0,
			"trials.jsonl:9: not a trial record"},
		{"huge", raw(
			func(b []byte) []byte { return append(b, `{"schema":1,"x":"`+strings.Repeat("A", 3<<20)+"\"}\n"...) },
		), 0, "trials.jsonl:9: longer than 1048576 bytes"},
		{"hugenoend", raw(func(b []byte) []byte { return append(b, strings.Repeat("A", 3<<20)...) }), 0,
			"trials.jsonl:9: the write of the last record was cut short"},
		{"blanklines", raw(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\n\n")) }), 0,
			"trials.jsonl:2: empty line; left out"},
		{"crlf", raw(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }), 0,
			"| spinlock-deadlock |"},
		{"bomtrials", raw(func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }), 0,
			"trials.jsonl:1: not a trial record"},
		{"schema2", set("schema", 2), 0, "trials.jsonl:1: unknown schema 2, this program reads 1"},
		{"schema0", set("schema", 0), 0, "unknown schema 0"},
		{"schemastr", set("schema", "1"), 0,
			"trials.jsonl:1: not a trial record: schema is a text, and not a whole number; left out"},
		{"negdetect", set("detect_ns", -5), 0, "trial 0: detect_ns -5 is not within"},
		{"negwindow", set("window_ns", -5), 0, "window_ns -5 is not within"},
		{"negdeadline", set("deadline_ns", -1), 0, "deadline_ns -1 is not within"},
		{"neghang", set("hang_ns", -1_000_000_000_000_000_000), 0, "hang_ns -1000000000000000000 is not within"},
		{"hugedetect", set("detect_ns", math.MaxInt64), 0, "detect_ns 9223372036854775807 is not within"},
		{"detectgtdeadline", set("detect_ns", int64(1e15)), 0, "detect_ns is after deadline_ns; left out"},
		{"detect1e308", set("detect_ns", json.Number("1e308")), 0, "detect_ns is the number 1e308, and not a whole number"},
		{"detectfloat", set("detect_ns", 1.5), 0, "detect_ns is the number 1.5, and not a whole number"},
		{"ratio1e308", set("guest.progress_ratio", json.Number("1e308")), 0, "guest.progress_ratio 1e+308 is not within"},
		{"rationeg", set("guest.progress_ratio", -1), 0, "guest.progress_ratio -1 is not within"},
		{"negvcpus", set("vcpus", -5), 0, "vcpus -5 is not within 1 to 8"},
		{"zerovcpus", set("vcpus", 0), 0, "vcpus 0 is not within 1 to 8"},
		{"negmem", set("memory_mib", -1), 0, "memory_mib -1 is not within 128 to 4096"},
		{"hugevcpus", set("vcpus", int64(1e18)), 0, "vcpus 1000000000000000000 is not within"},
		{"negblock", set("block", -1), 0, "block -1 is not within"},
		{"hugeblock", set("block", int64(1e17)), 0, "block 100000000000000000 is not within"},
		{"ept_over", set("ept.total", uint64(math.MaxUint64), "ept.permission", uint64(math.MaxUint64), "ept.lazy", 0), 0,
			"ept.total 18446744073709551615 is not within"},
		{"ept_wrap", set("ept.total", 9, "ept.permission", uint64(math.MaxUint64), "ept.lazy", 10), 0,
			"ept.permission 18446744073709551615 is not within"},
		{"eptneg", set("ept.total", -1), 0, "ept.total is the number -1, and not a whole number from 0 on"},
		{"evts", set("events.delivered", uint64(math.MaxUint64)), 0, "events.delivered 18446744073709551615 is not within"},
		{"window0", set("window_ns", 0), 0, "a valid trial whose window_ns is 0"},
		{"windowhuge", set("window_ns", math.MaxInt64), 0, "window_ns 9223372036854775807 is not within"},
		{"dom0neg", set("guest.dom0_before_ns", -1), 0, "guest.dom0_before_ns -1 is not within"},
		{"outcome_x", set("outcome", "exploded"), 0, "outcome \"exploded\" is none of"},
		{"outcome_empty", set("outcome", ""), 0, "outcome \"\" is none of"},
		{"hostxen", set("host", "xen"), 0, "trial 0 ran on host \"xen\", the run is of \"lab\""},
		{"silent_huge", set("guest.silent_vcpus", make([]int, 100_000)), 0, "silent_vcpus are not vCPUs of the guest"},
		{"unknownfield", set("foo", "bar"), 0, "| spinlock-deadlock |"},
		{"manxen", man("host.kind", "xen"), 2, "trial 0 ran on host \"lab\", the run is of \"xen\""},
		{"allxen", func(r *brokenRun) {
			man("host.kind", "xen")(r)
			r.trials = bytes.ReplaceAll(r.trials, []byte(`"host":"lab"`), []byte(`"host":"xen"`))
		}, 0, "| spinlock-deadlock |"},
		{"hostbogus", func(r *brokenRun) {
			man("host.kind", "<b>")(r)
			r.trials = bytes.ReplaceAll(r.trials, []byte(`"host":"lab"`), []byte(`"host":"<b>"`))
		}, 2, "host \"<b>\" is none of"},
		{"man2", man("schema", 2), 2, "unknown schema 2, this program reads 1: use the hangbench that wrote the run"},
		{"mplneg", man("planned", -1), 2, "manifest plans -1 trials but lists 8 wall times"},
		{"mplhuge", man("planned", 1_000_000_000), 2, "manifest plans 1000000000 trials but lists 8"},
		{"mpl0", func(r *brokenRun) { man("planned", 0)(r); man("trial_wall_sec", []int{})(r) }, 2,
			"plans 0 trials, its suite 8"},
		{"mpl2", func(r *brokenRun) { man("planned", 2)(r); man("trial_wall_sec", []int{0, 0})(r) }, 2,
			"plans 2 trials, its suite 8"},
		{"mpl8", func(r *brokenRun) { man("planned", 16)(r); man("trial_wall_sec", make([]int, 16))(r) }, 2,
			"plans 16 trials, its suite 8"},
		{"mtextbad", man("suite.text", "garbage: ["), 2, "the suite's text has the SHA-256"},
		{"mtextother", man("suite.text", strings.Replace(madeUpSuite, "repetitions: 2", "repetitions: 1", 1)), 2,
			"the suite's text has the SHA-256"},
		{"mtextempty", man("suite.text", ""), 2, "the suite's text has the SHA-256"},
		{"msha", man("suite.sha256", strings.Repeat("0", 64)), 2, "the suite's text has the SHA-256"},
		{"mseed", man("seed", 999), 0, "this version makes another plan of its suite and seed"},
		{"mplanempty", man("plan_sha256", ""), 0, "| spinlock-deadlock |"},
		{"mstarted", man("started", "yesterday"), 2,
			"not a manifest: \"yesterday\" is no time, as in 2026-01-02T15:04:05Z"},
		{"mstarted9999", man("started", "9999-01-01T00:00:00Z"), 0, "| spinlock-deadlock |"},
		{"mnulls", func(r *brokenRun) { man("started", nil)(r); man("versions", nil)(r); man("suite.name", nil)(r) }, 2,
			"manifest.json names the suite \"\""},
		{"mwall", man("trial_wall_sec", slices.Repeat([]json.Number{"1e308"}, 8)), 0, "| spinlock-deadlock |"},
		{"mwallneg", man("trial_wall_sec", slices.Repeat([]json.Number{"-1e308"}, 8)), 0, "| spinlock-deadlock |"},
		{"msess", man(
			"sessions",
			[]map[string]any{{"jobs": -1, "cpus": -1, "trials": 1e15, "wall_sec": 0, "cpu_sec": -1}},
		), 0, "| spinlock-deadlock |"},
		{"mbench", man("bench", map[string]json.Number{"a": "1e308", "b": "-1e308", "": "0"}), 0, "| spinlock-deadlock |"},
		{"manempty", rawMan(""), 2, "not a manifest: unexpected end of JSON input"},
		{"mantrunc", func(r *brokenRun) { r.manifest = r.manifest[:300] }, 2,
			"not a manifest: unexpected end of JSON input"},
		{"mannul", rawMan(strings.Repeat("\x00", 100)), 2, "not a manifest: invalid character '\\x00'"},
		{"manlist", rawMan("[]"), 2, "not a manifest: it is a list, and not an object"},
		{"manbom", func(r *brokenRun) { r.manifest = append([]byte("\xef\xbb\xbf"), r.manifest...) }, 2,
			"not a manifest: invalid character 'ï'"},
		{"mannull", rawMan("null"), 2, "not a manifest: no schema"},
		{"mandup",
			func(r *brokenRun) { r.manifest = append(bytes.TrimSuffix(r.manifest, []byte("}")), `,"planned":3}`...) }, 2,
			"manifest plans 3 trials but lists 8"},
		{"manhuge", man("warnings", slices.Repeat([]string{strings.Repeat("x", 1000)}, 50_000)), 0,
			"| spinlock-deadlock |"},
		{"mandeep", rawMan(`{"schema":1,"x":` + strings.Repeat("[", 2_000_000)), 2, "not a manifest: invalid character"},
		{"manisdir", func(r *brokenRun) {
			r.replace(results.ManifestFile, func(p string) error { return os.Mkdir(p, 0o700) })
		}, 2, "manifest.json is no regular file"},
		{"trialsisdir",
			func(r *brokenRun) { r.replace(results.TrialsFile, func(p string) error { return os.Mkdir(p, 0o700) }) }, 2,
			"trials.jsonl is no regular file"},
		{"symloop", func(r *brokenRun) { r.replace(results.TrialsFile, func(p string) error { return os.Symlink(p, p) }) },
			2, "too many levels of symbolic links"},
		{"symdir", func(r *brokenRun) {
			link := filepath.Join(r.t.TempDir(), "link")
			if err := os.Symlink(r.dir, link); err != nil {
				r.t.Fatal(err)
			}
			r.write()
			r.dir = link
		}, 0, "| spinlock-deadlock |"},
	}
}

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"hangbench/monitor/detect"
	"hangbench/results"
)

// evil is what nothing may send to a terminal: a title, a cleared screen, a forged line, a
// turn of the direction of writing, and a byte that is not UTF-8.
const evil = "\x1b]0;x\a\x1b[2J\nhangbench: forged\r\u202e\xff"

// hostileRun makes a run whose strings a guest or another author has chosen, and returns
// its folder.
func hostileRun(t *testing.T, parent string) string {
	t.Helper()
	s, err := createRun(parent, "lab")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range madeUpPlan() {
		rec := madeUpRecord(p)
		rec.GuestKernel = evil
		if rec.Class != "" {
			rec.Class, rec.Evidence = evil, []string{evil}
		}
		rec.BackedOut, rec.BackOutNS = evil, new(int64(1e6))
		rec.Findings = []results.Finding{{Observer: evil, Armed: true, WatchedNS: 1, Task: evil, Evidence: []string{evil}}}
		if err := s.Append(rec, 0); err != nil {
			t.Fatal(err)
		}
	}
	dir := s.Dir()
	if err := s.Close(madeUpStart); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, results.ManifestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m results.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	m.RunID, m.Host.Description, m.Warnings, m.Versions.Hangbench, m.CRC32C = evil, evil, []string{evil}, evil, ""
	m.Versions.Packages = map[string]string{evil: evil}
	if data, err = json.Marshal(&m); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(data))
	return dir
}

// TestHostile: whatever the strings of a file, or its name, no command sends to a terminal
// what the terminal would act on, and no string makes a line of its own.
func TestHostile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := hostileRun(t, filepath.Join(dir, "a\x1b[2J")), hostileRun(t, filepath.Join(dir, "b"))
	named := filepath.Join(dir, "d")
	if err := os.Mkdir(named, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(hostileRun(t, filepath.Join(dir, "e")), filepath.Join(named, evil)); err != nil {
		t.Fatal(err)
	}
	damaged := hostileRun(t, filepath.Join(dir, "c"))
	file := filepath.Join(damaged, results.TrialsFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, strings.Replace(string(text), `"scenario":"`, `"scenario":"\u001b[2J`, 1)+evil+"\n")
	suite := filepath.Join(dir, "suite\x1b[2J.yaml")
	writeFile(t, suite, madeUpSuite+"description: \"\\e]0;x\\a\u202e\"\n\"\\e[2J\": 1\n")
	stream := filepath.Join(dir, "stream.jsonl")
	var b bytes.Buffer
	vcpu := detect.VCPU{Symbol: evil, Callers: []string{evil}, Queue: &detect.RunQueue{PID: 1, Comm: evil}}
	if err := detect.WriteStream(&b, detect.Header{Schema: detect.StreamSchema, Scenario: evil, Mechanism: "poll",
		Host: "lab", Guest: evil, Comment: evil},
		[]detect.Observation{{TimeNS: 1e9, VCPUs: []detect.VCPU{vcpu}},
			{TimeNS: 2e9, VCPUs: []detect.VCPU{vcpu}}}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, stream, b.String())

	for _, args := range [][]string{
		{"report", first}, {"report", first, "--tables", "all"}, {"report", first, "--tables", "all", "--format", "md"},
		{"report", first, "--tables", "all", "--format", "latex"}, {"report", first, "--format", "csv"},
		{"report", damaged}, {"report", damaged, "--tables", "claims"}, {"report", dir}, {"report", named},
		{"report", dir + "\x1b[2J"},
		{"compare", first, second}, {"compare", first, damaged}, {"compare", first, second, "--format", "md"},
		{"export", first}, {"export", damaged}, {"resume", dir + "\u202e"}, {"resume", first},
		{"check", suite}, {"check", "no\x1b[2J"}, {"timeline", stream, "--out", filepath.Join(dir, "drawn")},
		{"timeline", "\x1b[2J"}, {"\x1b[2J"}, {"report", "--\x1b[2J"}, {"run", suite},
	} {
		_, stdout, stderr := hangbench(t, args...)
		if stdout+stderr == "" {
			t.Errorf("%q says nothing", args)
		}
		for _, out := range []string{stdout, stderr} {
			for line := range strings.Lines(out) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(line, "hangbench: forged") {
					t.Errorf("%q: a forged line: %q", args, line)
				}
				if !utf8.ValidString(line) ||
					strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\t' }) {
					t.Errorf("%q: %q", args, line)
				}
			}
		}
	}
}

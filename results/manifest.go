package results

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"hangbench/results/printable"
)

// ManifestSchema is the version of the Manifest.
const ManifestSchema = 1

// Names of the files of a run.
const (
	ManifestFile = "manifest.json"
	TrialsFile   = "trials.jsonl"
	partialFile  = "trials.partial.jsonl"
	SumsFile     = "trials.sum"
	lockFile     = "lock"
)

// SuiteInfo is the suite a run was made from. The text is kept whole, so that
// a run says what was asked for even when the suite's file has changed since.
type SuiteInfo struct {
	Name   string `json:"name"`               // name of the suite
	SHA256 string `json:"sha256"`             // SHA-256 of Text in hexadecimal digits
	Text   string `json:"text" printable:"-"` // the suite's file, byte for byte
	// Drivers are those that the trials use, if they are not those of Text. A run
	// from before this field was there has none.
	Drivers []string `json:"drivers,omitempty"`
	// Guests are those that the trials run on, if they are not those of Text: kernels were
	// given on the command line, or one of them is a file.
	Guests []Machine `json:"guests,omitempty"`
	// KernelFiles maps the name of a guest kernel that the user brought to its file.
	KernelFiles map[string]string `json:"kernel_files,omitempty"`
}

// NewSuiteInfo describes a suite by its name and the bytes of its file.
func NewSuiteInfo(name string, text []byte) SuiteInfo {
	sum := sha256.Sum256(text)
	return SuiteInfo{Name: name, SHA256: hex.EncodeToString(sum[:]), Text: string(text)}
}

// HostInfo is where the trials ran.
type HostInfo struct {
	Kind        string `json:"kind"`        // lab or xen, the same word as in every Trial
	Description string `json:"description"` // for people: CPU model, clock, Xen command line
}

// Versions names everything that can change a number.
type Versions struct {
	Hangbench string            `json:"hangbench"`          // revision of this program
	Go        string            `json:"go"`                 // version of Go that built it
	Packages  map[string]string `json:"packages,omitempty"` // package name to version: xen, bochs, kernels, ...
}

// Manifest describes a run beyond its trials. Two runs with byte-equal trials may differ
// in it.
type Manifest struct {
	Schema  int       `json:"schema"` // version of the manifest: 1
	RunID   string    `json:"run_id"` // name of the run: suite, seed and start
	Suite   SuiteInfo `json:"suite"`
	Seed    uint64    `json:"seed"`    // of every random choice of the run
	Planned int       `json:"planned"` // number of trials in the plan
	// PlanHash is the SHA-256 of the plan in hexadecimal digits: the same suite and
	// seed may be expanded otherwise by another version. Empty if not known.
	PlanHash string   `json:"plan_sha256,omitempty"`
	Host     HostInfo `json:"host"`
	Versions Versions `json:"versions"`
	// Arms are the mechanisms of the run. A manifest of an earlier program has none:
	// ReadRun fills them in.
	Arms Arms `json:"arms,omitempty"`
	// SlowClasses are the classes of hangs whose sign is that something waits for long: a
	// healthy guest waits for seconds too, so their verdicts need seconds. Filled in like
	// Arms.
	SlowClasses []string `json:"slow_classes,omitempty"`

	Started     time.Time `json:"started"`        // wall clock of the machine that ran hangbench
	Ended       time.Time `json:"ended,omitzero"` // the same clock; absent until the run has ended
	Interrupted bool      `json:"interrupted"`    // the plan was not run to its end (yet)

	// TrialWallSec is the wall time of each trial in seconds, in plan
	// order; 0 for a trial that has not been run, or whose time was lost
	// to a kill.
	TrialWallSec []float64 `json:"trial_wall_sec"`

	// Sessions are the times that were spent on the trials, one for each command that
	// ran some of them.
	Sessions []Session `json:"sessions,omitempty"`

	// Bench holds figures of the bench itself, by name with the unit at
	// its end: snapshot_restore_sec, emulated_instr_per_sec, ...
	Bench    map[string]float64 `json:"bench,omitempty"`
	Warnings []string           `json:"warnings,omitempty"` // what went wrong without ending the run, a sentence each

	// CRC32C is the checksum of the file, in eight hexadecimal digits: CRC-32C of its bytes
	// with eight zeros in this place. A manifest of an earlier program has none.
	CRC32C string `json:"crc32c,omitempty"`
}

// Session is one command's work on a run.
type Session struct {
	Jobs    int     `json:"jobs"`     // how many trials ran at a time
	CPUs    int     `json:"cpus"`     // CPUs of the machine
	Trials  int     `json:"trials"`   // trials that were stored
	WallSec float64 `json:"wall_sec"` // from the first trial to the last
	// CPUSec is how long this program and those it started were on a CPU meanwhile.
	// Other than WallSec it does not count what else the machine does.
	CPUSec float64 `json:"cpu_sec"`
}

// clone returns a copy that shares nothing with m.
func (m *Manifest) clone() Manifest {
	c := *m
	c.Suite.Drivers = append([]string(nil), m.Suite.Drivers...)
	c.Suite.Guests, c.Suite.KernelFiles = slices.Clone(m.Suite.Guests), maps.Clone(m.Suite.KernelFiles)
	c.TrialWallSec = append([]float64(nil), m.TrialWallSec...)
	c.Warnings = append([]string(nil), m.Warnings...)
	c.Sessions = append([]Session(nil), m.Sessions...)
	if m.Bench != nil {
		c.Bench = make(map[string]float64, len(m.Bench))
		for k, v := range m.Bench {
			c.Bench[k] = v
		}
	}
	c.Arms, c.SlowClasses = maps.Clone(m.Arms), slices.Clone(m.SlowClasses)
	if m.Versions.Packages != nil {
		c.Versions.Packages = make(map[string]string, len(m.Versions.Packages))
		for k, v := range m.Versions.Packages {
			c.Versions.Packages[k] = v
		}
	}
	return c
}

// mostManifest bounds a manifest, in bytes. That of 100,000 trials has some 2 MB.
const mostManifest = 256 << 20

// readManifest reads and checks the manifest of the run in dir.
func readManifest(dir string) (*Manifest, error) {
	if dir == "" {
		return nil, errors.New("read manifest: the name of the run's folder is empty")
	}
	path := filepath.Join(dir, ManifestFile)
	f, err := OpenFile(path)
	if err != nil {
		if runs := runsIn(dir); len(runs) > 0 {
			return nil, fmt.Errorf("read manifest: %s is a folder of runs and not a run: give one of %s", dir,
				strings.Join(runs, ", "))
		}
		return nil, fmt.Errorf("read manifest: %w: a run is a folder with a %s", err, ManifestFile)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(data) > mostManifest {
		return nil, fmt.Errorf("%s is larger than %d bytes, which no manifest is", path, mostManifest)
	}
	m, err := parseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func parseManifest(data []byte) (*Manifest, error) {
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", printable.JSON(err))
	}
	if head.Schema == nil {
		return nil, errors.New("not a manifest: no schema")
	}
	if *head.Schema != ManifestSchema {
		return nil, schemaError(*head.Schema, ManifestSchema)
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("not a manifest: %w", printable.JSON(err))
	}
	printable.Fields(&m)
	if m.Planned < 0 || len(m.TrialWallSec) != m.Planned {
		return nil, fmt.Errorf("manifest plans %d trials but lists %d wall times", m.Planned, len(m.TrialWallSec))
	}
	if m.CRC32C != "" {
		if err := checkManifest(data); err != nil {
			return nil, err
		}
		m.CRC32C = ""
	}
	if m.Suite.SHA256 != "" || m.Suite.Text != "" {
		if is := NewSuiteInfo("", []byte(m.Suite.Text)).SHA256; is != m.Suite.SHA256 {
			return nil, fmt.Errorf("the suite's text has the SHA-256 %s and not %q: it was changed or damaged", is,
				m.Suite.SHA256)
		}
	}
	return &m, nil
}

// manifestSum is the end of a manifest with a checksum.
var manifestSum = regexp.MustCompile(`"crc32c": "([0-9a-f]{8})"\n}\n?$`)

// noSum stands in the place of a manifest's checksum while it is computed.
const noSum = "00000000"

// checkManifest returns an error if the manifest's bytes do not have its checksum.
func checkManifest(data []byte) error {
	at := manifestSum.FindSubmatchIndex(data)
	if at != nil {
		whole := slices.Clone(data)
		copy(whole[at[2]:at[3]], noSum)
		if fmt.Sprintf("%08x", castagnoli(whole)) == string(data[at[2]:at[3]]) {
			return nil
		}
	}
	return errors.New("the manifest does not match its checksum, it was changed or damaged: restore it, or " +
		`if it was changed on purpose set its "crc32c" to ""`)
}

// mostListed is how many runs a message names.
const mostListed = 20

// runsIn returns the folders in dir that are runs, sorted, for a message.
func runsIn(dir string) []string {
	paths, err := filepath.Glob(filepath.Join(glob(dir), "*", ManifestFile))
	if err != nil {
		return nil
	}
	var runs []string
	for _, p := range paths {
		runs = append(runs, printable.Line(filepath.Dir(p)))
	}
	if n := len(runs); n > mostListed {
		runs = append(runs[:mostListed], fmt.Sprintf("and %d more", n-mostListed))
	}
	return runs
}

// glob returns a pattern that matches the path.
func glob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// writeManifest replaces the manifest of the run in dir, whole or not at all.
func writeManifest(dir string, m *Manifest) error {
	c := *m
	c.CRC32C = noSum
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	data = append(data, '\n')
	at := manifestSum.FindSubmatchIndex(data)
	copy(data[at[2]:at[3]], fmt.Sprintf("%08x", castagnoli(data)))
	if err := ReplaceFile(filepath.Join(dir, ManifestFile), data); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// ReplaceFile replaces the file at path, or creates it, by way of a synced sibling: a
// full disk or a kill at any instant leaves the old bytes or the new ones. Of several
// callers at once each waits for the other. A folder is not replaced.
func ReplaceFile(path string, data []byte) (err error) {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder, and a file is to be written there: move the folder away", path)
	}
	tmp := path + ".tmp"
	f, err := openLocked(tmp, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp), f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename, creation or removal in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

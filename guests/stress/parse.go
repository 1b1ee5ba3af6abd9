package stress

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Result is the result of a run of stress-ng.
type Result struct {
	Version  Version
	Stressor string
	// Ops is the number of operations that the stressor has counted ("bogo ops"), in all
	// its instances together, at most MostOps.
	Ops uint64
	// Real is the time that they took, by the guest's clock; 0 < Real <= MostReal.
	Real time.Duration
}

// MostReal bounds Result.Real: six times the longest run.
const MostReal = 6 * Most * time.Second

// MostOps bounds Result.Ops. No machine does so many operations in that time.
const MostOps = 1 << 52

// mostBytes bounds the file of results in bytes. For one stressor it has about 2 kB.
const mostBytes = 64 << 10

// Version is a version of stress-ng as one number: 1902 is 0.19.02.
type Version uint64

// MostVersion bounds a Version.
const MostVersion = 999999

// String returns the version in the form that stress-ng writes.
func (v Version) String() string { return fmt.Sprintf("%d.%02d.%02d", v/1e4, v/100%100, v%100) }

// parseVersion parses the form that String returns.
func parseVersion(s string) (Version, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return 0, fmt.Errorf("%.40q is no version", s)
	}
	var v Version
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil || n > 99 {
			return 0, fmt.Errorf("%.40q is no version", s)
		}
		v = 100*v + Version(n)
	}
	if v == 0 || v.String() != s {
		return 0, fmt.Errorf("%.40q is no version", s)
	}
	return v, nil
}

// Parse parses the file that stress-ng writes with --yaml, of a run with one stressor.
// It accepts stress-ng's own layout only: sections begin in the first column, the one
// stressor of "metrics:" with a dash. The file is the guest's, so every value is
// checked.
func Parse(b []byte) (Result, error) {
	var r Result
	if len(b) > mostBytes {
		return r, fmt.Errorf("stress-ng's results have %d bytes, more than %d", len(b), mostBytes)
	}
	var section string
	seen := map[string]bool{}
	for line := range bytes.Lines(b) {
		text := strings.TrimRight(string(line), "\n")
		if text == "" || text == "---" || text == "..." {
			continue
		}
		if text[0] != ' ' {
			section = text
			continue
		}
		key, value, ok := strings.Cut(strings.TrimSpace(text), ": ")
		if !ok {
			return r, fmt.Errorf("stress-ng's results have the line %.80q, which is no key and value", text)
		}
		value = strings.TrimSpace(value)
		name := section + key
		var err error
		switch name {
		case "system-info:stress-ng-version":
			r.Version, err = parseVersion(strings.Trim(value, "'"))
		case "metrics:- stressor":
			if r.Stressor = value; !isName(value) {
				err = fmt.Errorf("%.40q is no name", value)
			}
		case "metrics:bogo-ops":
			r.Ops, err = strconv.ParseUint(value, 10, 64)
			if err == nil && r.Ops > MostOps {
				err = fmt.Errorf("%d is out of range", r.Ops)
			}
		case "metrics:wall-clock-time":
			r.Real, err = parseSeconds(value)
		default:
			continue
		}
		if err != nil {
			return Result{}, fmt.Errorf("stress-ng's results: %s: %w", key, err)
		}
		if seen[name] {
			return Result{}, fmt.Errorf("stress-ng's results have %s twice", key)
		}
		seen[name] = true
	}
	for _, name := range []string{
		"system-info:stress-ng-version", "metrics:- stressor", "metrics:bogo-ops", "metrics:wall-clock-time",
	} {
		if !seen[name] {
			return Result{}, fmt.Errorf("stress-ng's results have no %s", strings.Replace(name, ":", ": ", 1))
		}
	}
	return r, nil
}

// parseSeconds parses a number of seconds with decimals, above 0.
func parseSeconds(s string) (time.Duration, error) {
	whole, part, ok := strings.Cut(s, ".")
	if !ok || len(part) == 0 || len(part) > 9 || len(whole) == 0 || len(whole) > 9 {
		return 0, fmt.Errorf("%.40q are no seconds with decimals", s)
	}
	// As an integer of nanoseconds, which is exact.
	n, err := strconv.ParseUint(whole+part+strings.Repeat("0", 9-len(part)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.40q are no seconds with decimals", s)
	}
	if d := time.Duration(n); d > 0 && d <= MostReal {
		return d, nil
	}
	return 0, fmt.Errorf("%s s are out of range", s)
}

// isName reports whether s has the form of a stressor's name.
func isName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

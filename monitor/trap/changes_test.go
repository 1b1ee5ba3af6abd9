package trap

import (
	"reflect"
	"strings"
	"testing"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	c := Changes{
		Version: ChangesVersion, Mechanism: "int3-altp2m", PID: 321, Start: 5,
		Restricted: []uint64{0x1234, 7}, Paused: true,
		Patched: []Patch{{GPA: 0x1234567, Original: []byte{0x55}, Patched: []byte{0xcc}}},
		Added:   []uint64{0xff000},
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseChanges(text)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%s read as %+v, %v", text, got, err)
	}
	if text, err := (Changes{Mechanism: "no such name!"}).Text(); err == nil {
		t.Errorf("written: %s", text)
	}
	// The longest that can be written can be read.
	big := Changes{Mechanism: strings.Repeat("m", 64), PID: 1 << 22, Start: 1<<64 - 1}
	bytes := []byte("0123456789abcdef")
	for range MaxChanges {
		big.Restricted = append(big.Restricted, maxFrame-1)
		big.Patched = append(big.Patched, Patch{GPA: 1<<52 - maxPatch, Original: bytes, Patched: bytes})
		big.Added = append(big.Added, maxFrame-1)
	}
	if text, err = big.Text(); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseChanges(text); err != nil {
		t.Errorf("%d bytes: %v", len(text), err)
	}
}

// TestChangesBounds: the last values that are accepted, and the first that are not.
func TestChangesBounds(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"azAZ": false, "az09-": true,
		"`": false, "{": false, "/": false, ":": false, "": true} {
		if _, err := (Changes{Mechanism: name}).Text(); (err == nil) != want {
			t.Errorf("mechanism %q: %v", name, err)
		}
	}
	for pid, want := range map[int]bool{-1: false, 0: true, 1 << 22: true, 1<<22 + 1: false} {
		if _, err := (Changes{PID: pid}).Text(); (err == nil) != want {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	text := `{"version":1}`
	for length, want := range map[int]bool{MaxChangesText: true, MaxChangesText + 1: false} {
		if _, err := ParseChanges(text + strings.Repeat(" ", length-len(text))); (err == nil) != want {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

func TestParseChangesRejects(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":           "",
		"no JSON":         "exec-step 5",
		"another version": `{"version":2}`,
		"no version":      `{}`,
		"unknown field":   `{"version":1,"extra":1}`,
		"two texts":       `{"version":1}{"version":1}`,
		"mechanism":       `{"version":1,"mechanism":"a b"}`,
		"long mechanism":  `{"version":1,"mechanism":"` + strings.Repeat("a", 65) + `"}`,
		"process":         `{"version":1,"pid":-1}`,
		"huge process":    `{"version":1,"pid":9999999}`,
		"frame":           `{"version":1,"restricted":[1099511627776]}`,
		"address":         `{"version":1,"patched":[{"gpa":4503599627370496,"original":"VQ==","patched":"zA=="}]}`,
		"no bytes":        `{"version":1,"patched":[{"gpa":1}]}`,
		"lengths":         `{"version":1,"patched":[{"gpa":1,"original":"VVU=","patched":"zA=="}]}`,
		"two frames":      `{"version":1,"patched":[{"gpa":4095,"original":"VVU=","patched":"zMw="}]}`,
		"long patch": `{"version":1,"patched":[{"gpa":1,"original":"MDEyMzQ1Njc4OWFiY2RlZjA=",` +
			`"patched":"MDEyMzQ1Njc4OWFiY2RlZjA="}]}`,
		"added":    `{"version":1,"added":[1099511627776]}`,
		"too many": `{"version":1,"added":[1` + strings.Repeat(",1", MaxChanges) + `]}`,
		"too long": `{"version":1}` + strings.Repeat(" ", MaxChangesText),
	} {
		if c, err := ParseChanges(text); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

func FuzzParseChanges(f *testing.F) {
	f.Add(`{"version":1,"mechanism":"exec-step","pid":5,"restricted":[4660]}`)
	f.Add(`{"version":1,"patched":[{"gpa":1,"original":"VQ==","patched":"zA=="}],"added":[3]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseChanges(text)
		if err != nil {
			return
		}
		// What is accepted is within bounds and survives being written again.
		again, err := c.Text()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseChanges(again)
		if err != nil {
			t.Fatal(err)
		}
		// Empty lists come back as none.
		for _, l := range []*Changes{&c, &back} {
			if len(l.Restricted) == 0 {
				l.Restricted = nil
			}
			if len(l.Patched) == 0 {
				l.Patched = nil
			}
			if len(l.Added) == 0 {
				l.Added = nil
			}
		}
		if !reflect.DeepEqual(c, back) || len(c.Restricted) > MaxChanges {
			t.Fatalf("%+v became %+v", c, back)
		}
	})
}

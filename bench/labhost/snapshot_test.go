package labhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
)

// putSnapshot puts a snapshot into the cache of a host, and returns the file of its
// memory.
func putSnapshot(t *testing.T, h *Host, name string) (memory string) {
	t.Helper()
	m := h.Lab.Manifest
	content := []byte("the memory of " + name)
	state := filepath.Join(h.snapshotDir(name), "state")
	memory = filepath.Join(state, "memory.ram")
	manifest, err := json.Marshal(&bochs.Snapshot{
		Version: 2, Key: m.Key(), Config: m.Machine.Config(), Files: map[string]int64{"memory.ram": int64(len(content))},
		Sums: map[string]uint32{"memory.ram": crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))},
	})
	err = errors.Join(err, os.MkdirAll(state, 0o755), os.WriteFile(memory, content, 0o600),
		os.WriteFile(filepath.Join(h.snapshotDir(name), "snapshot.json"), manifest, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return memory
}

// snapshotHost is a host with two snapshots, and the text of its log.
func snapshotHost(t *testing.T) (h *Host, memories map[string]string, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	h = &Host{Lab: &lab.Lab{Dir: t.TempDir()}, Log: slog.New(slog.NewTextHandler(log, nil))}
	memories = map[string]string{}
	for _, name := range []string{baseName, "guest"} {
		memories[name] = putSnapshot(t, h, name)
		if _, err := h.open(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return h, memories, log
}

// TestFailureKeepsSnapshots: when an emulator is killed, or fails in another way, its
// snapshots are read again. They are good, and stay.
func TestFailureKeepsSnapshots(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{
		&bochs.Failure{Op: "start the emulator", Err: &bochs.ExitError{Status: -1, Signal: syscall.SIGKILL}},
		&bochs.Failure{Op: "start the emulator", Err: &bochs.ExitError{Status: 1}},
		os.ErrDeadlineExceeded,
	} {
		h, memories, log := snapshotHost(t)
		calls := 0
		_, err := retry(t.Context(), h, func() (int, error) { calls++; return 0, failure }, baseName, "guest")
		if err != failure || calls != 1 {
			t.Errorf("%v: called %d times, %v", failure, calls, err)
		}
		for name, memory := range memories {
			if _, err := os.Stat(memory); err != nil {
				t.Errorf("%v: the snapshot %s is gone: %v", failure, name, err)
			}
		}
		if log.Len() > 0 {
			t.Errorf("%v: it said %s", failure, log)
		}
	}
}

// TestFailureOfDamaged: when a failure comes from a snapshot that was damaged after it
// was opened, that snapshot is named and removed, no other one is, and there is
// another try.
func TestFailureOfDamaged(t *testing.T) {
	t.Parallel()
	h, memories, log := snapshotHost(t)
	if err := os.WriteFile(memories["guest"], []byte("the memory of guesT"), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := 0
	v, err := retry(t.Context(), h, func() (int, error) {
		if calls++; calls == 1 {
			return 0, errors.New("nonsense came from the machine")
		}
		return 7, nil
	}, baseName, "guest")
	if v != 7 || err != nil || calls != 2 {
		t.Errorf("called %d times: %d, %v", calls, v, err)
	}
	if _, err := os.Stat(h.snapshotDir("guest")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the damaged snapshot: %v", err)
	}
	if _, err := os.Stat(memories[baseName]); err != nil {
		t.Errorf("the other one: %v", err)
	}
	if want := h.snapshotDir("guest") + " cannot be used: memory.ram has changed"; !strings.Contains(log.String(), want) {
		t.Errorf("the log says %s, want %s", log, want)
	}
}

// TestInterruptedIsNoFailure: nothing is read again for a call that was interrupted.
func TestInterruptedIsNoFailure(t *testing.T) {
	t.Parallel()
	h, memories, _ := snapshotHost(t)
	if err := os.WriteFile(memories["guest"], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := retry(ctx, h, func() (int, error) { return 0, &bochs.SnapshotError{Err: bochs.ErrTouched} }, "guest")
	if err == nil {
		t.Error("there was another try")
	}
	if _, err := os.Stat(memories["guest"]); err != nil {
		t.Error(err)
	}
}

// TestOpen: an open snapshot is used again, and opened anew when it was replaced.
func TestOpen(t *testing.T) {
	t.Parallel()
	h, memories, _ := snapshotHost(t)
	first := h.opened["guest"]
	if s, err := h.open(t.Context(), "guest"); s != first || err != nil {
		t.Errorf("opened again: %p, %v, want %p", s, err, first)
	}
	if err := os.RemoveAll(h.snapshotDir("guest")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.open(t.Context(), "guest"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	putSnapshot(t, h, "guest")
	if s, err := h.open(t.Context(), "guest"); err != nil || s == first {
		t.Errorf("made anew: %p, %v", s, err)
	}
	// A manifest that a kill has left out: the snapshot is damaged, and not absent.
	if err := os.Remove(filepath.Join(h.snapshotDir("guest"), "snapshot.json")); err != nil {
		t.Fatal(err)
	}
	delete(h.opened, "guest")
	var damaged *bochs.SnapshotError
	if _, err := h.open(t.Context(), "guest"); !errors.As(err, &damaged) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its manifest: %v", err)
	}
	if err := os.Remove(memories[baseName]); err != nil {
		t.Fatal(err)
	}
	if _, err := h.open(t.Context(), baseName); !errors.As(err, &damaged) {
		t.Errorf("without its memory: %v", err)
	}
}

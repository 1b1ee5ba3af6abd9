package labhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"hangbench/bench/agent"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/wire"
	"hangbench/scenarios/suites"
)

// baseName is the name of the snapshot of dom0 without a guest.
const baseName = "dom0"

// guestName returns the name of the snapshot of dom0 with such a guest.
func guestName(g suites.Guest) string {
	b, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("guest-%s-%dcpu-%s", g.Kernel, g.VCPUs, hex.EncodeToString(sum[:4]))
}

func (h *Host) snapshotDir(name string) string { return filepath.Join(h.Lab.Snapshots(), name) }

// Base returns the snapshot of dom0 with its agent ready. It boots the lab if the
// cache has no such snapshot.
func (h *Host) Base(ctx context.Context) (*bochs.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.base(ctx)
}

// Guest returns the snapshot of dom0 with a guest up. It boots the guest if the cache
// has no such snapshot.
func (h *Host) Guest(ctx context.Context, g suites.Guest) (*bochs.Snapshot, error) {
	h, err := h.Of(ctx, g)
	if err != nil {
		return nil, err
	}
	return h.guest(ctx, g)
}

// base is Base. The caller holds mu.
func (h *Host) base(ctx context.Context) (*bochs.Snapshot, error) {
	s, took, err := h.snapshot(ctx, boot{name: baseName, what: "boot the lab"})
	if took > 0 {
		h.times.ColdBootSec = took.Seconds()
	}
	return s, err
}

// guest is Guest on the host that Of has chosen.
func (h *Host) guest(ctx context.Context, g suites.Guest) (*bochs.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := boot{name: guestName(g), job: &agent.Job{Guest: &g}, what: "boot the guest"}
	if s, err := h.open(ctx, b.name); err == nil {
		return s, nil
	}
	for try := 1; ; try++ {
		var err error
		if b.from, err = h.base(ctx); err != nil {
			return nil, err
		}
		s, took, err := h.snapshot(ctx, b)
		if took > 0 {
			h.times.GuestBootSec = took.Seconds()
		}
		if err == nil || try > 1 || !h.dropDamaged(ctx, err, baseName) {
			return s, err
		}
	}
}

// open opens a snapshot that the cache has. Its files are read once, and again when
// they have changed. The caller holds mu.
func (h *Host) open(ctx context.Context, name string) (*bochs.Snapshot, error) {
	if s := h.opened[name]; s != nil {
		if s.Verify(ctx) == nil {
			return s, nil
		}
		delete(h.opened, name)
	}
	s, err := bochs.OpenSnapshot(ctx, h.snapshotDir(name), h.Lab.Manifest.Machine, h.Lab.Manifest.Key())
	if err != nil {
		return nil, err
	}
	h.keep(name, s)
	return s, nil
}

// keep keeps an open snapshot for the next machine. The caller holds mu.
func (h *Host) keep(name string, s *bochs.Snapshot) {
	if h.opened == nil {
		h.opened = map[string]*bochs.Snapshot{}
	}
	h.opened[name] = s
}

// drop removes a snapshot from the cache.
func (h *Host) drop(name string) error {
	delete(h.opened, name)
	if err := os.RemoveAll(h.snapshotDir(name)); err != nil {
		return fmt.Errorf("remove a damaged snapshot: %w", err)
	}
	return nil
}

// dropDamaged looks for the cause of a failure in snapshots: it reads them again, and
// removes those that are damaged. It reports whether the failure was a snapshot's, so
// that another try is worth while. The caller holds mu.
func (h *Host) dropDamaged(ctx context.Context, failure error, names ...string) bool {
	damaged := (*bochs.SnapshotError)(nil)
	again := errors.As(failure, &damaged)
	for _, name := range names {
		s := h.opened[name]
		if s == nil {
			continue
		}
		err := s.VerifyAgain(ctx)
		if !errors.As(err, &damaged) {
			continue
		}
		h.Log.Warn("making a snapshot anew", "error", err)
		if err := h.drop(name); err != nil {
			h.Log.Warn(err.Error())
			return false
		}
		again = true
	}
	return again
}

// boot says how to make a snapshot.
type boot struct {
	name string
	from *bochs.Snapshot // nil: from power-on
	job  *agent.Job      // nil: none
	what string          // names it in messages
}

// limit returns how long it may take, in the machine's time. Neighbours of a guest boot
// one after the other.
func (b *boot) limit() time.Duration {
	if b.job != nil && b.job.Guest != nil {
		return patience * time.Duration(1+b.job.Guest.Neighbours)
	}
	return patience
}

// snapshot opens a snapshot, or makes it. took is 0 if the cache had it. The caller
// holds mu.
func (h *Host) snapshot(ctx context.Context, b boot) (s *bochs.Snapshot, took time.Duration, err error) {
	if s, err = h.open(ctx, b.name); err == nil {
		return s, 0, nil
	}
	held, err := h.Lab.LockSnapshot(ctx, b.name)
	if err != nil {
		return nil, 0, err
	}
	defer held.Close()
	damaged := (*bochs.SnapshotError)(nil)
	switch s, err = h.open(ctx, b.name); {
	case err == nil:
		return s, 0, nil // another process has made it meanwhile
	case errors.As(err, &damaged):
		h.Log.Warn("making a snapshot anew", "error", err)
		if err := h.drop(b.name); err != nil {
			return nil, 0, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, 0, err
	}
	h.Log.Info(b.what)
	start := time.Now()
	if s, err = h.save(ctx, b); err == nil {
		h.keep(b.name, s)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", b.what, err)
	}
	return s, time.Since(start), nil
}

// save runs a machine until its agent is ready, and saves it. The agent's messages are
// read meanwhile: a failure in dom0 ends the machine at once.
func (h *Host) save(ctx context.Context, b boot) (*bochs.Snapshot, error) {
	dir := h.snapshotDir(b.name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make a snapshot: %w", err)
	}
	// The emulator writes the whole memory. Its zeros become holes later.
	if err := debian.NeedSpace(filepath.Dir(dir), int64(h.Lab.Manifest.Machine.MemoryMiB+64)<<20); err != nil {
		return nil, err
	}
	l, run, err := h.launch(b.job)
	if err != nil {
		return nil, err
	}
	l.Snapshot = b.from
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		h.follow(r, b.what, cancel)
	}()
	s, err := bochs.Save(running, l, bochs.SaveRequest{
		Dir: dir, After: agent.Mark, Within: b.limit(), Key: h.Lab.Manifest.Key(), Output: w,
	})
	w.Close()
	<-read
	run.end(err != nil && ctx.Err() == nil)
	if failed := (*AgentError)(nil); err != nil && errors.As(context.Cause(running), &failed) {
		return nil, fmt.Errorf("%w\n%s", failed, failed.Console)
	}
	return s, err
}

// follow reads the agent's messages to their end. It logs progress, and calls failed
// with an *AgentError.
func (h *Host) follow(r io.Reader, what string, failed func(error)) {
	for in := wire.NewReader(r); ; {
		m, err := in.Next()
		if gap := (*wire.GapError)(nil); errors.As(err, &gap) {
			continue
		}
		if err != nil {
			io.Copy(io.Discard, r) // the machine must not wait for a reader
			return
		}
		var p agent.Progress
		var f agent.Failure
		switch {
		case m.Kind == wire.KindProgress && m.Decode(&p) == nil:
			h.Log.Info(what + ": " + p.Stage)
		case m.Kind == wire.KindError && m.Decode(&f) == nil:
			failed(&AgentError{f})
		}
	}
}

// ColdBoot boots the lab from power-on and returns how long that took until the agent
// was ready and the machine saved. The snapshot is removed.
func (h *Host) ColdBoot(ctx context.Context) (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := boot{name: fmt.Sprintf("bench-%d", os.Getpid()), what: "boot the lab"}
	if err := h.drop(b.name); err != nil {
		return 0, err
	}
	_, took, err := h.snapshot(ctx, b)
	return took, errors.Join(err, h.drop(b.name))
}

// GuestBoot restores dom0, creates a guest, and returns how long that took until its
// heartbeat ran and the machine was saved. The snapshot is removed. The lab is the host's
// own: see Of.
func (h *Host) GuestBoot(ctx context.Context, g suites.Guest) (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from, err := h.base(ctx)
	if err != nil {
		return 0, err
	}
	b := boot{
		name: fmt.Sprintf("bench-%d", os.Getpid()), from: from, job: &agent.Job{Guest: &g}, what: "boot the guest",
	}
	if err := h.drop(b.name); err != nil {
		return 0, err
	}
	_, took, err := h.snapshot(ctx, b)
	return took, errors.Join(err, h.drop(b.name))
}

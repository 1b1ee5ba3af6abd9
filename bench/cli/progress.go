package cli

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"hangbench/bench/run"
)

// progress shows how a run comes along: a bar on a terminal, a line for each
// step and each trial elsewhere.
type progress struct {
	env   *Env
	total int

	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	begun time.Time
	done  int
	last  string
}

func newProgress(env *Env, total int) *progress {
	return &progress{env: env, total: total}
}

// step tells of a step of the preparation. The same step told again is not
// repeated.
func (p *progress) step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if what == p.last {
		return
	}
	p.last = what
	if p.env.Terminal {
		fmt.Fprintf(p.env.Stderr, "\r\x1b[K%s", what)
		return
	}
	fmt.Fprintln(p.env.Stderr, what)
}

// bytes tells of a step that moves bytes.
func (p *progress) bytes(what string, done, total int64) {
	if total <= 0 {
		p.step(what)
		return
	}
	if p.env.Terminal {
		p.step(fmt.Sprintf("%s: %d of %d MB", what, done/1e6, total/1e6))
	} else {
		p.step(fmt.Sprintf("%s: %d%% of %d MB", what, 100*done/total/25*25, total/1e6))
	}
}

// resume starts the trials, some of which may be done already.
func (p *progress) resume(done int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.begun = done, p.env.Now()
	if !p.env.Terminal {
		return
	}
	fmt.Fprint(p.env.Stderr, "\r\x1b[K")
	p.bar = progressbar.NewOptions(p.total,
		progressbar.OptionSetWriter(p.env.Stderr),
		progressbar.OptionSetWidth(20),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)
	p.bar.Set(done)
}

// event tells of a trial.
func (p *progress) event(e run.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := fmt.Sprintf("trial %d (%s, %s)", e.Trial.Index, e.Trial.Scenario, e.Trial.Mechanism)
	switch {
	case e.Err != nil:
		p.wipe()
		fmt.Fprintf(p.env.Stderr, "hangbench: warning: %s failed: %v\n", name, e.Err)
	case e.Done != nil:
		p.done++
		if p.bar != nil {
			p.bar.Set(p.done)
			return
		}
		fmt.Fprintf(p.env.Stderr, "[%*d/%d] %s: %s after %.0f s\n", len(fmt.Sprint(p.total)), p.done, p.total, name, e.Done.Outcome, p.env.Now().Sub(p.begun).Seconds())
	case p.bar != nil:
		p.bar.Describe(fmt.Sprintf("%s %s: %s", e.Trial.Scenario, e.Trial.Mechanism, e.Stage))
	}
}

func (p *progress) wipe() {
	if p.env.Terminal {
		fmt.Fprint(p.env.Stderr, "\r\x1b[K")
	}
}

// clear makes room for a line of somebody else.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
}

// end takes the display away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Clear()
		p.bar = nil
	}
	p.wipe()
}

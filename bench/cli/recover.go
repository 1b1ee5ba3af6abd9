package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"hangbench/bench/dom0"
)

func recoverCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "recover", "DOMAIN", "Bring a guest back whose monitor was killed: no view, no step, no trap, no ring, not paused, memory as it was. What the monitor had changed stands in a journal in xenstore. Harmless on a guest in order; refused while the monitor lives. Then look whether anything is left. Exit status 1 if so.")
	all := f.Bool("all", false, "every guest with the journal of a monitor that died, instead of DOMAIN")
	force := f.Bool("force", false, "also where something monitors the guest that has written no journal")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, 0, 1); err != nil {
		return err
	}
	if *all == (f.NArg() == 1) {
		return usagef("recover: give either a DOMAIN or --all")
	}
	h, err := openDom0(env, "")
	if err != nil {
		return err
	}
	defer h.Close()
	var done []dom0.Recovered
	if *all {
		done, err = h.RecoverDead()
	} else {
		var id int
		if id, err = find(h, f.Arg(0)); err != nil {
			return err
		}
		var r dom0.Recovered
		if r, err = h.Recover(id, *force); err == nil {
			done = append(done, r)
		}
	}
	if err := printRecovered(env.Stdout, done, *asJSON); err != nil {
		return err
	}
	attached := (*dom0.AttachedError)(nil)
	if errors.As(err, &attached) || errors.Is(err, dom0.ErrForeign) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	for _, r := range done {
		if !r.OK() {
			return errFailed
		}
	}
	return nil
}

// yesNo is how a check shows in text.
func yesNo(ok bool) string {
	if ok {
		return "ok"
	}
	return "NO"
}

func printRecovered(w io.Writer, done []dom0.Recovered, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if done == nil {
			done = []dom0.Recovered{}
		}
		return e.Encode(struct {
			Schema    int              `json:"schema"`
			Recovered []dom0.Recovered `json:"recovered"`
		}{1, done})
	}
	for _, r := range done {
		fmt.Fprintf(w, "domain %d: journal %s", r.Domain, r.Journal)
		if r.Journal == dom0.JournalDead {
			fmt.Fprintf(w, " (%s, process %d)", r.Mechanism, r.PID)
		}
		paused := yesNo(r.NotPaused)
		if r.PausedByOthers {
			paused = "paused, not by a monitor"
		}
		fmt.Fprintf(w, "\n  found: ring %s, altp2m %s, %d frames restricted, %d bytes patched, %d frames added, %d pauses\n", onOff(r.RingOn), onOff(r.Altp2mOn),
			r.Restricted, r.BytesPatched, r.FramesRemoved, r.Pauses)
		fmt.Fprintf(w, "  now:   ring free %s, altp2m off %s, no step %s, no trap %s, not paused %s\n", yesNo(r.RingFree), yesNo(r.Altp2mOff),
			yesNo(r.NotStepping), yesNo(r.NoTrap), paused)
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

package dom0cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/exit"
)

// RecoverHelp is the description of the command recover.
const RecoverHelp = "Recover a guest whose monitor was killed: no view, no single step, no trap, no ring, not " +
	"paused, memory as it was. A journal in xenstore has what the monitor changed. The command does not change a " +
	"guest that needs no recovery, and refuses while the monitor lives. It then checks that nothing of the monitor " +
	"is left. Exit status 1 if something is left."

// Recover is the command recover.
type Recover struct{ all, force, json bool }

// AddFlags defines the command's flags.
func (r *Recover) AddFlags(f *pflag.FlagSet) {
	f.BoolVar(&r.all, "all", false, "every guest with the journal of a monitor that died, instead of DOMAIN")
	f.BoolVar(&r.force, "force", false, "also where something monitors the guest that has written no journal")
	f.BoolVar(&r.json, "json", false, "print JSON")
}

// Run recovers the domains that the arguments and flags name, and prints what it
// found and did.
func (r *Recover) Run(args []string, stdout io.Writer) error {
	if len(args) > 1 || r.all == (len(args) == 1) {
		return exit.Usagef("recover: give either a DOMAIN or --all")
	}
	h, err := Open("", "")
	if err != nil {
		return err
	}
	defer h.Close()
	return r.recover(h, args, stdout)
}

// recover recovers domains of an open host.
func (r *Recover) recover(h *dom0.Host, args []string, stdout io.Writer) error {
	var done []recovery.Recovered
	var err error
	if r.all {
		done, err = h.RecoverDead()
	} else {
		id, ferr := Find(h, args[0])
		if ferr != nil {
			return ferr
		}
		var one recovery.Recovered
		if one, err = h.Recover(id, r.force); err == nil {
			done = append(done, one)
		}
	}
	if err := printRecovered(stdout, done, r.json); err != nil {
		return err
	}
	attached := (*recovery.AttachedError)(nil)
	if errors.As(err, &attached) || errors.Is(err, recovery.ErrForeign) {
		return exit.UsageError{Err: err}
	}
	if err != nil {
		return err
	}
	for _, one := range done {
		if !one.OK() {
			return exit.ErrFailed
		}
	}
	return nil
}

// okNo prints a check.
func okNo(ok bool) string {
	if ok {
		return "ok"
	}
	return "NO"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func printRecovered(w io.Writer, done []recovery.Recovered, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if done == nil {
			done = []recovery.Recovered{}
		}
		return e.Encode(struct {
			Schema    int                  `json:"schema"`
			Recovered []recovery.Recovered `json:"recovered"`
		}{1, done})
	}
	for _, r := range done {
		by := ""
		if r.Journal == recovery.JournalDead {
			by = fmt.Sprintf(" (%s, process %d)", r.Mechanism, r.PID)
		}
		paused := okNo(r.NotPaused)
		if r.PausedByOthers {
			paused = "paused, not by a monitor"
		}
		_, err := fmt.Fprintf(w, "domain %d: journal %s%s\n"+
			"  found: ring %s, altp2m %s, %d frames restricted, %d bytes patched, %d frames added, %d pauses\n"+
			"  now:   ring free %s, altp2m off %s, no step %s, no trap %s, not paused %s\n",
			r.Domain, r.Journal, by,
			onOff(r.RingOn), onOff(r.Altp2mOn), r.Restricted, r.BytesPatched, r.FramesRemoved, r.Pauses,
			okNo(r.RingFree), okNo(r.Altp2mOff), okNo(r.NotStepping), okNo(r.NoTrap), paused)
		if err != nil {
			return err
		}
	}
	return nil
}

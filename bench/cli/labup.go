package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
)

// namedLab are the flags that select one of the running labs.
type namedLab struct {
	labFlags
	name string
}

func (n *namedLab) add(c *cobra.Command) {
	c.Flags().StringVar(&n.name, "name", "lab", "`name` of the running lab, when there are several")
	n.labFlags.add(c)
	n.labFlags.addLibVMI(c)
	n.labFlags.addXen(c)
}

// cache checks the lab's name and finds the cache.
func (n *namedLab) cache(env *Env) (lab.Cache, error) {
	if !regexp.MustCompile(`^[a-z0-9-]{1,32}$`).MatchString(n.name) {
		return "", exit.Usagef("--name %q: use up to 32 of a-z, 0-9 and '-'", n.name)
	}
	return n.open(env)
}

// keepCommand is the hidden flag with which "lab up" starts the keeper.
const keepCommand = "keep"

func (a *app) labUp() *cobra.Command {
	c := a.command("up", "start a lab and keep it running",
		`Start a lab that keeps running until "hangbench lab down".`, 0, 0)
	var nl namedLab
	nl.add(c)
	keep := c.Flags().Bool(keepCommand, false, "be the keeper")
	hide(c, keepCommand)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cache, err := nl.cache(a.Env)
		switch {
		case err != nil:
			return err
		case *keep:
			return nl.keep(c.Context(), a, cache)
		}
		return nl.up(c.Context(), a, cache)
	}
	return c
}

// hide hides a flag from help.
func hide(c *cobra.Command, flag string) { c.Flags().Lookup(flag).Hidden = true }

// up starts the keeper of a lab and waits until the lab is up.
func (n *namedLab) up(ctx context.Context, a *app, c lab.Cache) error {
	switch at, err := ask(ctx, c, n.name, request{}, nil); {
	case err == nil && at.Lab != "":
		return exit.Usagef("lab %s is up already (%s)", n.name, at.Dir)
	case err == nil:
		return n.await(ctx, a, c, nil) // another command is starting it
	case !errors.Is(err, errNotUp):
		return err
	}
	// Build and boot the lab here: what can go wrong is shown to the user.
	h, err := n.host(ctx, a)
	if err == nil {
		_, err = h.Base(ctx)
	}
	if err != nil {
		return err
	}
	a.display.End()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(upDir(c), 0o700); err != nil {
		return err
	}
	// Keepers of one name share the log: of several that are started at once, one goes on.
	log, err := os.OpenFile(logPath(c, n.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	k := &keeperProcess{ended: make(chan error, 1)}
	k.cmd = exec.Command(exe, append(slices.Clone(a.args), "--"+keepCommand)...)
	if k.logFrom, err = log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	k.cmd.Stdout, k.cmd.Stderr = log, log
	k.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := k.cmd.Start(); err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	go func() { k.ended <- k.cmd.Wait() }()
	return n.await(ctx, a, c, k)
}

// keeperProcess is a keeper that was started.
type keeperProcess struct {
	cmd     *exec.Cmd
	ended   chan error // gets the end of the process
	logFrom int64      // where its part of the log begins
}

// taken reports whether a keeper ended because another one has the name.
func (k *keeperProcess) taken() bool { return k.cmd.ProcessState.ExitCode() == exit.Usage }

// await waits until the lab is up. k is nil if another command has started the keeper.
func (n *namedLab) await(ctx context.Context, a *app, c lab.Cache, k *keeperProcess) error {
	mine, ended := 0, (chan error)(nil)
	if k != nil {
		mine, ended = k.cmd.Process.Pid, k.ended
	}
	for {
		switch at, err := ask(ctx, c, n.name, request{}, nil); {
		case err == nil && at.Lab != "" && at.keeper == mine:
			fmt.Fprintf(a.out, "lab %s is up (%s)\n", n.name, at.Dir)
			return nil
		case err == nil && at.Lab != "":
			return exit.Usagef("lab %s is up already (%s)", n.name, at.Dir)
		case errors.Is(err, errNotUp) && ended == nil:
			return fmt.Errorf("another command was starting lab %s, which has ended; see %s", n.name, logPath(c, n.name))
		case err != nil && !errors.Is(err, errNotUp) && ctx.Err() == nil:
			return err
		}
		select {
		case err := <-ended:
			if !k.taken() {
				return fmt.Errorf("the lab ended at once: %w: %s", err, k.said(logPath(c, n.name)))
			}
			mine, ended = 0, nil
		case <-ctx.Done():
			if ended != nil {
				k.cmd.Process.Kill()
			}
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// said returns the keeper's part of the log.
func (k *keeperProcess) said(path string) string {
	log, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	text, err := io.ReadAll(io.NewSectionReader(log, k.logFrom, 64<<10))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// keep runs a machine and answers requests until it is told to stop.
func (n *namedLab) keep(ctx context.Context, a *app, c lab.Cache) error {
	l, release, err := listen(ctx, c, n.name)
	if err != nil {
		return err
	}
	return newKeeper(n.name).keep(ctx, l, func(ctx context.Context) (machine, string, error) {
		h, err := n.host(ctx, a)
		if err != nil {
			return nil, "", err
		}
		m, err := h.Up(ctx)
		if err != nil {
			return nil, "", err
		}
		return m, h.Lab.Manifest.Key(), nil
	}, release)
}

// labRun is the command "lab run".
type labRun struct {
	namedLab
	guest bool // in a lab of its own, with a guest
	named bool // the user has named the lab
}

func (a *app) labRun() *cobra.Command {
	c := a.command("run PROGRAM [ARGUMENT...]", "run a program in dom0 of the running lab, or of one started for it",
		`Run a program in dom0: "xl list", "xl info", "xl dmesg". In the running lab if there is one, else in one started `+
			"for it. Output and exit status are the program's own. An interrupt stops the program, and no lab that is up.",
		1, 1000)
	c.Flags().SetInterspersed(false)
	var r labRun
	r.add(c)
	c.Flags().BoolVar(&r.guest, "guest", false, "in a lab started for it in which a guest is up, named guest")
	c.RunE = func(c *cobra.Command, args []string) error {
		r.named = c.Flags().Changed("name")
		return r.run(c.Context(), a, args)
	}
	return c
}

func (r *labRun) run(ctx context.Context, a *app, program []string) error {
	c, err := r.cache(a.Env)
	if err != nil {
		return err
	}
	if r.guest && r.named {
		return exit.Usagef("lab run: --guest starts a lab of its own, --name is for one that runs")
	}
	status := 0
	err = errNotUp
	if !r.guest {
		status, err = r.inRunning(ctx, a, c, program)
	}
	if r.guest || errors.Is(err, errNotUp) && !r.named {
		status, err = r.once(ctx, a, program)
	}
	failed := (*labhost.AgentError)(nil)
	switch {
	case a.out.err != nil:
		return nil // Main reports it
	case errors.As(err, &failed) && failed.NoProgram:
		return exit.UsageError{Err: err}
	case err != nil:
		return err
	case status != 0:
		return exit.ProgramError{Status: status}
	}
	return nil
}

// inRunning runs the program in the lab that is up.
func (r *labRun) inRunning(ctx context.Context, a *app, c lab.Cache, program []string) (status int, err error) {
	said := false
	end, err := ask(ctx, c, r.name, request{Exec: program}, func(at answer) error {
		if len(at.Busy) > 0 && !slices.Equal(at.Busy, program) && !said {
			said = true
			fmt.Fprintf(a.Stderr, "hangbench: lab %s is %s; waiting for its end\n", r.name, at.busy())
		}
		_, err := a.Stderr.Write(at.Stderr)
		_, oerr := a.out.Write(at.Stdout)
		return errors.Join(err, oerr)
	})
	return end.Status, err
}

// once runs the program in a lab started for it.
func (r *labRun) once(ctx context.Context, a *app, program []string) (status int, err error) {
	h, err := r.host(ctx, a)
	if err != nil {
		return 0, err
	}
	var m *labhost.Machine
	if r.guest {
		m, err = h.UpGuest(ctx, defaultGuest())
	} else {
		m, err = h.Up(ctx)
	}
	if err != nil {
		return 0, err
	}
	defer m.Close()
	a.display.End()
	return m.Run(ctx, program, a.out, a.Stderr)
}

func (a *app) labConsole() *cobra.Command {
	c := a.command("console", "print the console of the running lab's Xen and dom0",
		"Print the console of the running lab's Xen and dom0.", 0, 0)
	var nl namedLab
	nl.add(c)
	follow := c.Flags().BoolP("follow", "f", false, "go on until interrupted")
	c.RunE = func(c *cobra.Command, _ []string) error { return nl.console(c.Context(), a, *follow) }
	return c
}

func (n *namedLab) console(ctx context.Context, a *app, follow bool) error {
	c, err := n.cache(a.Env)
	if err != nil {
		return err
	}
	up, err := ask(ctx, c, n.name, request{}, nil)
	if err != nil {
		return err
	}
	if up.Lab == "" {
		return fmt.Errorf("lab %s is %s: it has no console yet", n.name, up.busy())
	}
	path := filepath.Join(up.Dir, bochs.ConsoleLog)
	log, err := os.Open(path)
	for said := false; errors.Is(err, os.ErrNotExist); log, err = os.Open(path) {
		// The emulator creates the file with the first character of the console.
		if !said {
			said = true
			fmt.Fprintln(a.Stderr, "nothing was written to the console since the lab was restored")
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err != nil {
		return fmt.Errorf("read the console: %w", err)
	}
	defer log.Close()
	for {
		if _, err := io.Copy(a.out, log); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *app) labDown() *cobra.Command {
	c := a.command("down", "stop the running lab", "Stop the running lab.", 0, 0)
	var nl namedLab
	nl.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return nl.down(c.Context(), a) }
	return c
}

func (n *namedLab) down(ctx context.Context, a *app) error {
	c, err := n.cache(a.Env)
	if err != nil {
		return err
	}
	// The keeper answers when the emulator has ended and the name is free.
	if _, err := ask(ctx, c, n.name, request{Stop: true}, nil); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "lab %s is down\n", n.name)
	return nil
}

func (a *app) labStatus() *cobra.Command {
	c := a.command("status", "say what is in the cache and what runs",
		"Say what is in the cache and which labs run.", 0, 0)
	var lf labFlags
	lf.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return lf.status(c.Context(), a) }
	return c
}

func (l *labFlags) status(ctx context.Context, a *app) error {
	c, err := l.open(a.Env)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "cache %s: %d MiB\n", c, diskMiB(string(c)))
	manifests, _ := filepath.Glob(filepath.Join(string(c), "labs", "*", lab.ManifestFile))
	sort.Strings(manifests)
	for _, m := range manifests {
		dir := filepath.Dir(m)
		snaps, _ := os.ReadDir(filepath.Join(dir, "snapshots"))
		var names []string
		for _, s := range snaps {
			if !strings.HasPrefix(s.Name(), ".") { // one that is being saved, or was not saved to its end
				names = append(names, s.Name())
			}
		}
		fmt.Fprintf(a.out, "  lab %s: %d MiB, snapshots: %s\n", filepath.Base(dir), diskMiB(dir), orNone(names))
	}
	if len(manifests) == 0 {
		fmt.Fprintln(a.out, "  no lab; make one with: hangbench lab build")
	}
	socks, _ := filepath.Glob(filepath.Join(upDir(c), "*.sock"))
	running := 0
	for _, s := range socks {
		name := strings.TrimSuffix(filepath.Base(s), ".sock")
		up, err := ask(ctx, c, name, request{}, nil)
		if errors.Is(err, errNotUp) {
			continue // the rest of a keeper that was killed
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		running++
		switch busy := up.busy(); {
		case err != nil:
			fmt.Fprintf(a.out, "up: %s: %v\n", name, err)
		case up.Lab == "":
			fmt.Fprintf(a.out, "up: %s is %s\n", name, busy)
		case busy != "":
			fmt.Fprintf(a.out, "up: %s (lab %s, emulator is process %d, logs in %s) is %s\n", name, up.Lab, up.PID, up.Dir, busy)
		default:
			fmt.Fprintf(a.out, "up: %s (lab %s, emulator is process %d, logs in %s)\n", name, up.Lab, up.PID, up.Dir)
		}
	}
	if running == 0 {
		fmt.Fprintln(a.out, "nothing is running")
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// diskMiB is the size of a folder on disk in MiB, without the holes of files.
func diskMiB(dir string) int64 {
	var blocks int64
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // it may have been removed just now
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			blocks += st.Blocks
		}
		return nil
	})
	return blocks * 512 / (1 << 20)
}

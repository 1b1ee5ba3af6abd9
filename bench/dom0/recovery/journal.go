package recovery

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/trap"
)

// JournalNode is the xenstore node of a session's journal, relative to the home of
// the monitored domain. The home belongs to the control domain and is removed with
// the domain. The guest may read it and cannot write it.
const JournalNode = "hangbench/session"

// store is the part of a xenstore connection that a journal needs;
// *xenctrl.Store has it.
type store interface {
	Read(path string) (string, error)
	Write(path, value string) error
	Remove(path string) error
	Close() error
}

// journal is the journal of a session of this process. It implements
// trap.Journal. It has its own connection to xenstore, because the session runs on
// a thread of its own.
type journal struct {
	store store
	path  string
	mine  trap.Changes // mechanism, process, and whether the guest was paused before
	// clear is set while the journal says that nothing is changed.
	clear bool
}

// beginJournal writes down that this process is about to monitor a domain. Nothing
// has been done to the domain before it returns. The error is an *AttachedError if
// another monitor is attached.
func (h *Host) beginJournal(domid int, mechanism string) (*journal, error) {
	c, err := h.journalOf(domid)
	switch {
	case errors.Is(err, xc.ErrNotExist):
	case err != nil:
		return nil, err
	case alive(c):
		return nil, &AttachedError{domid, c}
	default:
		return nil, fmt.Errorf("the monitor (process %d, %s) that died on domain %d has left it as it was: "+
			"run hangbench recover %d first", c.PID, c.Mechanism, domid, domid)
	}
	info, err := h.Xen.Domain(xc.DomID(domid)).Info()
	if err != nil {
		return nil, err
	}
	_, start, err := processStat(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("read when this process started: %w", err)
	}
	s, err := h.OpenStore()
	if err != nil {
		return nil, fmt.Errorf("open a journal: %w", err)
	}
	j := &journal{store: s, path: journalPath(domid),
		mine: trap.Changes{Mechanism: mechanism, PID: os.Getpid(), Start: start, Paused: info.Paused}}
	if err := j.Write(j.mine); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return j, nil
}

func journalPath(domid int) string { return xc.DomainPath(xc.DomID(domid)) + "/" + JournalNode }

// Write replaces the journal's text.
func (j *journal) Write(c trap.Changes) error {
	c.PID, c.Start, c.Paused = j.mine.PID, j.mine.Start, j.mine.Paused
	text, err := c.Text()
	if err != nil {
		return err
	}
	j.clear = false
	if err := j.store.Write(j.path, text); err != nil {
		return fmt.Errorf("write a journal: %w", err)
	}
	return nil
}

// Clear writes down that nothing is changed. The journal stays, because the session
// may still hold the guest's ring and have it paused; end removes it.
func (j *journal) Clear() error {
	err := j.Write(j.mine)
	j.clear = err == nil
	return err
}

// end closes the journal. remove removes it too; without it the journal stays for
// whoever recovers the guest.
func (j *journal) end(remove bool) error {
	var err error
	if remove {
		if err = j.store.Remove(j.path); err != nil {
			err = fmt.Errorf("remove a journal: %w", err)
		}
	}
	return errors.Join(err, j.store.Close())
}

// journalOf reads the journal of a domain. The error is xenctrl.ErrNotExist if
// there is none, and a *damagedError if it makes no sense.
func (h *Host) journalOf(domid int) (trap.Changes, error) {
	text, err := h.Store.Read(journalPath(domid))
	if err != nil {
		return trap.Changes{}, fmt.Errorf("read the journal of domain %d: %w", domid, err)
	}
	return parseJournal(domid, text)
}

func parseJournal(domid int, text string) (trap.Changes, error) {
	c, err := trap.ParseChanges(text)
	if err != nil {
		return c, &damagedError{domid, err}
	}
	return c, nil
}

// damagedError is a journal that makes no sense.
type damagedError struct {
	domid int
	err   error
}

func (e *damagedError) Error() string { return fmt.Sprintf("journal of domain %d: %v", e.domid, e.err) }
func (e *damagedError) Unwrap() error { return e.err }

// AttachedError means that a living monitor is attached to the domain.
type AttachedError struct {
	Domid   int
	Changes trap.Changes // its journal
}

func (e *AttachedError) Error() string {
	return fmt.Sprintf("a monitor is attached to domain %d: process %d, %s; end it first, it detaches on SIGTERM",
		e.Domid, e.Changes.PID, e.Changes.Mechanism)
}

// alive reports whether the process that wrote a journal still lives.
func alive(c trap.Changes) bool {
	state, start, err := processStat(c.PID)
	if err != nil || c.PID == 0 {
		return false
	}
	return state != 'Z' && state != 'X' && (c.Start == 0 || c.Start == start)
}

// processStat returns the state of a process and when it started, in clock ticks
// since boot: fields 3 and 22 of /proc/PID/stat (proc_pid_stat(5)).
func processStat(pid int) (state byte, start uint64, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(b))
}

func parseStat(text string) (state byte, start uint64, err error) {
	// The name in field 2 may hold any character, parentheses too.
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("the stat of a process has %d fields after its name, want 20 or more: %.80q", len(f), text)
	}
	if start, err = strconv.ParseUint(f[19], 10, 64); err != nil {
		return 0, 0, fmt.Errorf("the stat of a process: when it started: %w", err)
	}
	return f[0][0], start, nil
}

package dom0

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/trap"
)

// JournalNode is the xenstore node, relative to the domain's home, that holds
// the journal of the session that monitors the domain. The home belongs to the
// control domain and goes with the domain; the guest may read it and no more.
const JournalNode = "hangbench/session"

// node is the part of xenstore that a journal needs; *xenctrl.Store has it.
type node interface {
	Read(path string) (string, error)
	Write(path, value string) error
	Remove(path string) error
}

// journal is the journal of a session of this process. It implements
// monitor.Journal. It has its own connection to xenstore, because the session
// has its own thread.
type journal struct {
	store node
	path  string
	mine  trap.Changes // mechanism, process, whether paused before
	close func() error
	// inOrder: the session has said that there is nothing left to undo.
	inOrder bool
}

// beginJournal writes down that this process is about to monitor a domain,
// before it has done anything to it.
func (h *Host) beginJournal(domid int, mechanism string) (*journal, error) {
	c, err := h.journalOf(domid)
	switch {
	case errors.Is(err, xc.ErrNotExist):
	case err != nil:
		return nil, err
	case alive(c):
		return nil, &AttachedError{domid, c}
	default:
		return nil, fmt.Errorf("the monitor (process %d, %s) that died on domain %d has left it as it was: run hangbench recover %d first", c.PID, c.Mechanism, domid, domid)
	}
	info, err := h.xen.Domain(xc.DomID(domid)).Info()
	if err != nil {
		return nil, err
	}
	_, start, err := processStat(os.Getpid())
	if err != nil {
		return nil, err
	}
	store, err := xc.OpenStore()
	if err != nil {
		return nil, fmt.Errorf("open a journal: %w", err)
	}
	j := &journal{store: store, path: journalPath(domid), close: store.Close,
		mine: trap.Changes{Mechanism: mechanism, PID: os.Getpid(), Start: start, Paused: info.Paused}}
	if err := j.Write(j.mine); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return j, nil
}

func journalPath(domid int) string { return xc.DomainPath(xc.DomID(domid)) + "/" + JournalNode }

// Write replaces what the journal says.
func (j *journal) Write(c trap.Changes) error {
	c.PID, c.Start, c.Paused = j.mine.PID, j.mine.Start, j.mine.Paused
	text, err := c.Text()
	if err != nil {
		return err
	}
	j.inOrder = false
	if err := j.store.Write(j.path, text); err != nil {
		return fmt.Errorf("write a journal: %w", err)
	}
	return nil
}

// Clear writes down that nothing is changed. The session may still hold the
// guest paused and have its ring: the journal goes with end.
func (j *journal) Clear() error {
	err := j.Write(j.mine)
	j.inOrder = err == nil
	return err
}

// end closes the journal. If the guest was let go in order nothing stays of it;
// if not, it stays for whoever recovers the guest.
func (j *journal) end(inOrder bool) error {
	var err error
	if inOrder {
		if err = j.store.Remove(j.path); err != nil {
			err = fmt.Errorf("close a journal: %w", err)
		}
	}
	return errors.Join(err, j.close())
}

// journalOf reads the journal of a domain. The error is xenctrl.ErrNotExist if
// there is none.
func (h *Host) journalOf(domid int) (trap.Changes, error) { return readJournal(h.store, domid) }

func readJournal(s node, domid int) (trap.Changes, error) {
	text, err := s.Read(journalPath(domid))
	if err != nil {
		return trap.Changes{}, fmt.Errorf("journal of domain %d: %w", domid, err)
	}
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

// AttachedError says that a monitor is attached to the domain and lives.
type AttachedError struct {
	Domid   int
	Changes trap.Changes
}

func (e *AttachedError) Error() string {
	return fmt.Sprintf("a monitor is attached to domain %d: process %d, %s; end it first, it lets go of the guest on SIGTERM", e.Domid, e.Changes.PID, e.Changes.Mechanism)
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
// since boot (fields 3 and 22 of /proc/PID/stat, proc_pid_stat(5)).
func processStat(pid int) (state byte, start uint64, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(b))
}

func parseStat(text string) (state byte, start uint64, err error) {
	// The name in field 2 may hold anything, parentheses too.
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("a process' stat of %d fields: %.80q", len(f), text)
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return f[0][0], start, err
}

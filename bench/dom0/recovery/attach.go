package recovery

import (
	"errors"

	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor"
)

// Session is an attached monitor with a journal.
type Session struct {
	*monitor.Session
	j *journal
}

// Attach attaches a monitor to a domain, with a journal of what it changes. c is
// complete but for its Journal.
func (h *Host) Attach(domid int, c monitor.Config) (*Session, error) {
	j, err := h.beginJournal(domid, c.Mechanism.Name)
	if err != nil {
		return nil, err
	}
	c.Journal = j
	s, err := monitor.Attach(c)
	if err != nil {
		// ErrBusy: somebody else has the ring, and nothing was done to the guest.
		return nil, errors.Join(err, j.end(j.clear || errors.Is(err, xc.ErrBusy)))
	}
	return &Session{s, j}, nil
}

// Detach detaches the monitor. If that fails the journal stays, and the guest can be
// recovered. A guest that is being destroyed takes its journal along.
func (s *Session) Detach() (monitor.Counters, error) {
	c, err := s.Session.Detach()
	gone := errors.Is(err, monitor.ErrGone)
	jerr := s.j.end(err == nil || gone)
	if gone && errors.Is(jerr, xc.ErrNotExist) {
		jerr = nil
	}
	return c, errors.Join(err, jerr)
}

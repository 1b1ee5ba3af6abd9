package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Message is one message as it was received, complete and undamaged.
type Message struct {
	// Seq is the sequence number of the message's last frame.
	Seq  uint64
	Kind Kind
	Body []byte
}

// Decode reads the body as one JSON value into v, a pointer. Fields that v does
// not have are an error: the two sides are always built from the same source.
func (m Message) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(m.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode %s message %d: %w", m.Kind, m.Seq, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("decode %s message %d: more than one JSON value", m.Kind, m.Seq)
	}
	return nil
}

// GapError reports that frames were lost: the sequence number jumped. Next returns
// it once, before the message of the frame that shows the jump. Next can be called
// again.
type GapError struct {
	// Want is the sequence number that was expected, Got the one that came. Got is
	// smaller than Want if the other side has started again from 1.
	Want, Got uint64
}

func (e *GapError) Error() string {
	if e.Got < e.Want {
		return fmt.Sprintf("serial line: frame %d came instead of %d: the other side has started again", e.Got, e.Want)
	}
	return fmt.Sprintf("serial line: %d frame(s) lost: frame %d came instead of %d", e.Got-e.Want, e.Got, e.Want)
}

// ProtocolError reports that undamaged frames do not make a message: the other side
// does not follow the protocol. Next can be called again.
type ProtocolError struct {
	Seq    uint64 // frame at which that was seen
	Kind   Kind
	Reason string
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("serial line: frame %d (%s): %s", e.Seq, e.Kind, e.Reason)
}

// Reader finds messages in a stream. It keeps at most one line and one message in
// memory. Only one goroutine may use it.
type Reader struct {
	// Noise, if not nil, is called with each line, or piece of a long line, that is
	// not a frame, without its newline, and with the bytes before a frame on its
	// line. The slice is only valid during the call.
	Noise func([]byte)

	r     io.Reader
	buf   []byte // buf[start:end] has been read and not used yet
	start int
	end   int
	long  bool // the rest of the current line is noise

	next uint64 // expected sequence number; 0: any
	held *frame // the next frame: it has been read, but an error was returned first
	part partial
	// within is set after a whole message, until the next error. While it is not
	// set, pieces of a message without a beginning are ignored: an error has
	// reported the loss already, or the beginning was sent before this reader began.
	within bool
}

// partial is a message of which pieces are missing.
type partial struct {
	frame
	text []byte
}

// NewReader returns a Reader. It accepts any sequence number in the first frame: a
// lab that was restored from a snapshot has already sent some.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, 2*MaxLine)}
}

// Next returns the next message. Its errors are
//
//   - a [*GapError] or a [*ProtocolError], after which Next can be called again,
//   - io.EOF when the stream ends between messages, io.ErrUnexpectedEOF when it
//     ends inside one,
//   - whatever the underlying reader returned. After a deadline that has passed
//     Next can be called again and nothing is lost.
func (r *Reader) Next() (Message, error) {
	for {
		f, err := r.frame()
		if err == io.EOF && r.part.pieces > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return Message{}, err
		}
		m, complete, err := r.add(f)
		if err != nil {
			return Message{}, err
		}
		if complete {
			return m, nil
		}
	}
}

// add joins a frame to the frames before it.
func (r *Reader) add(f frame) (m Message, complete bool, err error) {
	p := r.part
	fail := func(format string, a ...any) (Message, bool, error) {
		r.part, r.within = partial{}, false
		return Message{}, false, &ProtocolError{f.seq, f.kind, fmt.Sprintf(format, a...)}
	}
	switch {
	case p.pieces == 0 && f.piece > 1:
		if !r.within {
			return Message{}, false, nil
		}
		return fail("piece %d/%d came without the ones before it", f.piece, f.pieces)
	case p.pieces > 0 && f.piece == 1:
		r.hold(f) // it begins another message, which is not lost
		return fail("it came while pieces of a %s message were missing", p.kind)
	case p.pieces > 0 && (f.piece != p.piece+1 || f.kind != p.kind || f.encoding != p.encoding || f.pieces != p.pieces):
		return fail("it does not go on with the %s message before it", p.kind)
	case len(p.text)+len(f.payload) > maxText:
		return fail("the message is longer than %d bytes", MaxMessage)
	}
	if f.piece < f.pieces {
		r.part = partial{frame: f, text: append(p.text, f.payload...)}
		r.part.payload = nil // it is in the line buffer
		return Message{}, false, nil
	}
	body, err := decode(f.encoding, append(p.text, f.payload...), MaxMessage)
	if err != nil {
		return fail("the body cannot be unpacked: %v", err)
	}
	r.part, r.within = partial{}, true
	return Message{Seq: f.seq, Kind: f.kind, Body: body}, true, nil
}

// hold keeps f for the next call of frame.
func (r *Reader) hold(f frame) {
	f.payload = bytes.Clone(f.payload)
	r.held = &f
}

// frame returns the next undamaged frame. The payload is valid until the next
// call.
func (r *Reader) frame() (frame, error) {
	if f := r.held; f != nil {
		r.held = nil
		return *f, nil
	}
	for {
		line, err := r.line()
		if err != nil {
			return frame{}, err
		}
		f, ok := r.find(line)
		if !ok {
			continue
		}
		want := r.next
		r.next = f.seq + 1
		if want != 0 && f.seq != want {
			r.part, r.within = partial{}, false // the pieces so far will never be a message
			r.hold(f)
			return frame{}, &GapError{Want: want, Got: f.seq}
		}
		return f, nil
	}
}

// find looks for a frame at the end of the line. Noise without a newline, such as
// the NULs of a port that is being reset, may be before it.
func (r *Reader) find(line []byte) (frame, bool) {
	line = bytes.TrimSuffix(line, []byte{'\r'}) // terminals end a line with CR and LF
	for from := 0; ; {
		at := bytes.Index(line[from:], []byte(Prefix))
		if at < 0 {
			r.noise(line)
			return frame{}, false
		}
		at += from
		if f, err := parseFrame(line[at:]); err == nil {
			r.noise(line[:at])
			return f, true
		}
		from = at + 1
	}
}

// line returns the next line without its newline. The bytes are valid until the
// next call.
func (r *Reader) line() ([]byte, error) {
	searched := 0
	for {
		pending := r.buf[r.start:r.end]
		if i := bytes.IndexByte(pending[searched:], '\n'); i >= 0 {
			line := pending[:searched+i]
			r.start += searched + i + 1
			if r.long || len(line) > MaxLine {
				r.long = false
				r.noise(line)
				searched = 0
				continue
			}
			return line, nil
		}
		searched = len(pending)
		if len(pending) > MaxLine {
			r.long = true
			r.noise(pending)
			r.start, searched = r.end, 0
		}
		if err := r.fill(); err != nil {
			if err == io.EOF {
				r.noise(r.buf[r.start:r.end])
				r.start = r.end
			}
			return nil, err
		}
	}
}

// fill reads once into the free part of the buffer.
func (r *Reader) fill() error {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	for range 100 {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			return nil // the next call returns the error again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (r *Reader) noise(b []byte) {
	if len(b) > 0 && r.Noise != nil {
		r.Noise(b)
	}
}

package wire

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Writer writes messages. Its methods may be called from several goroutines;
// messages do not mix. The zero value is not usable: see [NewWriter].
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	seq uint64
	err error // first failure to write; nothing is written after it

	packer *flate.Writer // kept: setting one up costs more than most messages
}

// NewWriter returns a Writer whose first frame has sequence number 1.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// FirstLine is how the line begins that a new [Writer] writes when its first
// message is of kind k and fits one frame, as for every body of up to 256
// bytes of plain text. The emulator takes its snapshot behind the line that
// begins with FirstLine(KindReady).
func FirstLine(k Kind) string { return Prefix + "1 " + string(k) + " " }

// Sync writes n newlines. They mean nothing; they give a reader whose port is
// being opened or reset something to lose that nobody misses.
func (w *Writer) Sync(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(bytes.Repeat([]byte{'\n'}, n))
}

// Send writes v as JSON in a message of kind k. A nil v gives an empty body.
func (w *Writer) Send(k Kind, v any) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return fmt.Errorf("encode a %s message: %w", k, err)
		}
	}
	return w.Write(k, body)
}

// Write writes a message. The body may hold any bytes, up to [MaxMessage] of
// them. After an error of the underlying writer, which may have taken half a
// frame, every further call fails with the same error.
func (w *Writer) Write(k Kind, body []byte) error {
	if !k.Valid() {
		return fmt.Errorf("write a message: %q is not a kind of message", string(k))
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("write a %s message: %d bytes are more than the %d that fit", k, len(body), MaxMessage)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	enc, text, err := w.encode(body)
	if err != nil {
		return fmt.Errorf("encode a %s message: %w", k, err)
	}
	pieces := max(1, (len(text)+pieceSize-1)/pieceSize)
	for i := range pieces {
		w.seq++
		f := frame{
			seq: w.seq, kind: k, encoding: enc, piece: i + 1, pieces: pieces,
			payload: text[i*pieceSize : min(len(text), (i+1)*pieceSize)],
		}
		if err := w.write(f.line()); err != nil {
			return fmt.Errorf("write a %s message: %w", k, err)
		}
	}
	return nil
}

// write passes b on, all of it or never anything again. The lock is held.
func (w *Writer) write(b []byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := w.w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	w.err = err
	return err
}

// encode brings a body into the form in which it travels. The lock is held.
func (w *Writer) encode(body []byte) (encoding, []byte, error) {
	plain := printable(body)
	if plain && len(body) <= readableSize {
		return encodingText, body, nil
	}
	var packed bytes.Buffer
	if w.packer == nil {
		var err error
		if w.packer, err = flate.NewWriter(&packed, flate.DefaultCompression); err != nil {
			return 0, nil, err
		}
	} else {
		w.packer.Reset(&packed)
	}
	if _, err := w.packer.Write(body); err != nil {
		return 0, nil, err
	}
	if err := w.packer.Close(); err != nil {
		return 0, nil, err
	}
	text := base64.RawStdEncoding.AppendEncode(nil, packed.Bytes())
	if plain && len(text) >= len(body) {
		return encodingText, body, nil
	}
	return encodingDeflate, text, nil
}

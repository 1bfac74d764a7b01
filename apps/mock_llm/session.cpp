#include "mock_llm/session.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <sys/socket.h>

namespace troupe::mock_llm {

namespace {

using problem = boost::system::error_code;
constexpr std::size_t drip_pieces = 20;
constexpr std::chrono::milliseconds drip_pause{100};
/// How long a request without an answer is held for a client that does not give up.
constexpr std::chrono::minutes longest_hold{30};
/// How long, and how many bytes (in largest bodies), a client that was answered early may go on sending.
constexpr std::chrono::seconds longest_drain{2};
constexpr std::uint64_t most_drained_bodies = 4;
/// An answer larger than this does not keep its memory for the next one.
constexpr std::size_t most_kept_answer = 4u << 10;

} // namespace

void worker::sweep() {
  sweeper.expires_after(std::chrono::seconds(1));
  sweeper.async_wait([this](problem failed) {
    if (failed)
      return;
    const auto now = clock::now();
    for (auto at = sessions.begin(); at != sessions.end();) {
      const auto found = (at++)->lock(); // a session that ends takes itself out of the list
      if (found)
        found->check(now);
    }
    sweep();
  });
}

session::session(worker& home, tcp::socket socket) : home_(home), socket_(std::move(socket)), timer_(home.loop) {
  place_ = home_.sessions.end();
  expect(home_.shared.chosen.idle_timeout);
}

session::~session() {
  leave_flight();
  if (place_ != home_.sessions.end())
    home_.sessions.erase(place_);
}

void session::start() {
  place_ = home_.sessions.insert(home_.sessions.end(), weak_from_this());
  problem ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  wait_readable();
}

void session::leave_flight() {
  if (in_flight_)
    home_.shared.in_flight.leave();
  in_flight_ = false;
}

void session::close() {
  if (state_ == state::closed)
    return;
  state_ = state::closed;
  leave_flight();
  problem ignored;
  timer_.cancel();
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  socket_.close(ignored);
}

void session::check(worker::clock::time_point now) {
  if (state_ == state::closed || now < deadline_)
    return;
  const bool is_partial = state_ == state::reading && request_;
  if (is_partial) {
    home_.answers.refuse(408, "The request did not arrive in time.", answer_);
    send();
    return;
  }
  close();
}

void session::wait_readable() {
  if (watching_)
    return;
  watching_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](problem failed) {
    self->watching_ = false;
    if (!failed)
      self->on_readable();
  });
}

void session::on_readable() {
  if (state_ == state::reading)
    return is_queued_ ? void() : read();
  if (state_ == state::draining)
    return drain();
  if (state_ != state::waiting && state_ != state::holding)
    return; // asked for again once the answer is out
  char peeked = 0;
  const auto got = ::recv(socket_.native_handle(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
    close(); // the client gave up
}

/// Waits for the next request, unless one is here already.
void session::read_on() {
  if (state_ == state::reading && !is_queued_)
    wait_readable();
}

void session::read() {
  problem failed;
  while (state_ == state::reading && !is_queued_) {
    const auto got = socket_.read_some(boost::asio::buffer(home_.incoming), failed);
    if (failed == boost::asio::error::would_block || failed == boost::asio::error::try_again)
      return wait_readable();
    if (failed)
      return close();
    const std::string_view bytes(home_.incoming.data(), got);
    if (!pending_.empty()) {
      pending_.append(bytes);
      parse_pending();
    } else if (feed(bytes)) {
      respond();
    }
    // A read that did not fill its buffer has emptied the socket: the next wait tells when there is more.
    if (got < home_.incoming.size())
      return read_on();
  }
}

void session::parse_pending() {
  std::string bytes;
  bytes.swap(pending_);
  if (feed(bytes))
    respond();
}

bool session::feed(std::string_view bytes) {
  const auto& chosen = home_.shared.chosen;
  while (!bytes.empty()) {
    if (!request_) {
      request_.emplace(chosen.max_header_bytes, chosen.max_body_bytes);
      expect(chosen.request_timeout);
    }
    const bool had_header = request_->is_header_done();
    problem failed;
    const auto taken = request_->put(boost::asio::buffer(bytes.data(), bytes.size()), failed);
    bytes.remove_prefix(taken);
    if (failed == http::error::need_more) {
      if (taken == 0 || bytes.empty())
        break;
      continue;
    }
    if (failed) {
      const bool large = failed == http::error::header_limit || failed == http::error::buffer_overflow;
      home_.answers.refuse(large ? 431 : 400, large ? "The headers are too large." : "This is no HTTP request: " + failed.message(),
                           answer_);
      send();
      return false;
    }
    if (request_->is_done())
      break;
    if (!had_header && request_->is_header_done() && request_->expects_continue) {
      if (request_->content_length().value_or(0) > chosen.max_body_bytes) {
        request_->too_large = true;
        return true; // it waits for our word before it sends the body
      }
      problem ignored;
      static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      socket_.write_some(boost::asio::buffer(go_on.data(), go_on.size()), ignored);
    }
    if (request_->thrown_away > most_drained_bodies * chosen.max_body_bytes)
      return true;
  }
  pending_.append(bytes);
  return request_ && request_->is_done();
}

void session::respond() {
  in_flight_ = true;
  home_.shared.in_flight.enter();
  home_.answers.respond(*request_, answer_);
  request_.reset();
  switch (answer_.how) {
  case answer::kind::hold:
    state_ = state::holding;
    expect(longest_hold);
    return wait_readable();
  case answer::kind::reset: {
    problem ignored;
    socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
    state_ = state::closed;
    leave_flight();
    socket_.close(ignored);
    return;
  }
  default:
    break;
  }
  if (answer_.delay.count() == 0)
    return send();
  state_ = state::waiting;
  expect(answer_.delay + home_.shared.chosen.request_timeout);
  timer_.expires_after(answer_.delay);
  timer_.async_wait([self = shared_from_this()](problem failed) {
    if (!failed && self->state_ == state::waiting)
      self->send();
  });
  wait_readable();
}

void session::send() {
  state_ = state::writing;
  written_ = 0;
  expect(home_.shared.chosen.request_timeout);
  if (answer_.how == answer::kind::drip)
    return drip();
  problem failed;
  written_ = socket_.write_some(boost::asio::buffer(answer_.bytes), failed);
  if (failed && failed != boost::asio::error::would_block && failed != boost::asio::error::try_again)
    return close();
  if (written_ < answer_.bytes.size())
    return write_rest();
  written();
}

void session::write_rest() {
  const auto rest = boost::asio::buffer(answer_.bytes.data() + written_, answer_.bytes.size() - written_);
  boost::asio::async_write(socket_, rest, [self = shared_from_this()](problem failed, std::size_t) {
    if (self->state_ != state::writing)
      return;
    if (failed)
      return self->close();
    self->written();
    self->read_on();
  });
}

void session::drip() {
  const auto step = std::max<std::size_t>(1, (answer_.bytes.size() + drip_pieces - 1) / drip_pieces);
  const auto piece = boost::asio::buffer(answer_.bytes.data() + written_, std::min(step, answer_.bytes.size() - written_));
  expect(home_.shared.chosen.request_timeout);
  boost::asio::async_write(socket_, piece, [self = shared_from_this()](problem failed, std::size_t size) {
    if (self->state_ != state::writing)
      return;
    if (failed)
      return self->close();
    self->written_ += size;
    if (self->written_ == self->answer_.bytes.size()) {
      self->written();
      self->read_on();
      return;
    }
    self->timer_.expires_after(drip_pause);
    self->timer_.async_wait([self](problem cancelled) {
      if (!cancelled && self->state_ == state::writing)
        self->drip();
    });
  });
}

void session::written() {
  leave_flight();
  if (answer_.is_last) {
    problem ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    state_ = state::draining;
    expect(longest_drain);
    return drain();
  }
  if (answer_.bytes.capacity() > most_kept_answer)
    answer_.bytes = {};
  state_ = state::reading;
  expect(home_.shared.chosen.idle_timeout);
  if (pending_.empty())
    return;
  // Whoever pipelines a thousand requests is served from the loop, one by one: no recursion, and the others get their turn.
  is_queued_ = true;
  boost::asio::post(home_.loop, [self = shared_from_this()] {
    self->is_queued_ = false;
    if (self->state_ != state::reading)
      return;
    self->parse_pending();
    self->read_on();
  });
}

/// Closing while bytes are unread would reset the connection, and take the answer from a client that has not read it yet.
void session::drain() {
  pending_ = {};
  while (true) {
    problem failed;
    const auto got = socket_.read_some(boost::asio::buffer(home_.incoming), failed);
    if (failed == boost::asio::error::would_block || failed == boost::asio::error::try_again)
      return wait_readable();
    drained_ += got;
    if (failed || drained_ > most_drained_bodies * home_.shared.chosen.max_body_bytes)
      return close();
  }
}

} // namespace troupe::mock_llm

// boost::interprocess::message_queue behind C functions. No exception crosses them: each answers whether
// it succeeded, or a null pointer.

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstddef>
#include <exception>
#include <iostream>

using boost::interprocess::message_queue;

namespace {

template <class Action>
bool succeeds(const char *what, Action action) {
    try {
        action();
        return true;
    } catch (const std::exception &error) {
        std::cerr << "boost message_queue: " << what << ": " << error.what() << '\n';
        return false;
    }
}

} // namespace

extern "C" {

bool boost_queue_create(const char *name, std::size_t depth, std::size_t size) {
    return succeeds("create", [&] {
        message_queue::remove(name);
        message_queue(boost::interprocess::create_only, name, depth, size);
    });
}

void boost_queue_remove(const char *name) { message_queue::remove(name); }

message_queue *boost_queue_open(const char *name) {
    message_queue *queue = nullptr;
    succeeds("open", [&] { queue = new message_queue(boost::interprocess::open_only, name); });
    return queue;
}

void boost_queue_close(message_queue *queue) { delete queue; }

bool boost_queue_send(message_queue *queue, const void *message, std::size_t size) {
    return succeeds("send", [&] { queue->send(message, size, 0); });
}

bool boost_queue_receive(message_queue *queue, void *message, std::size_t size) {
    return succeeds("receive", [&] {
        message_queue::size_type received = 0;
        unsigned int priority = 0;
        queue->receive(message, size, received, priority);
    });
}
}

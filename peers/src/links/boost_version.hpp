// Preprocessed by build.rs, never compiled: the last line becomes the version.
#include <boost/version.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>
boost_version_is BOOST_LIB_VERSION

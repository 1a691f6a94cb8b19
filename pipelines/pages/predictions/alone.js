"use strict";
// The page of one video: shows the only video of its data, with a link to the index of all.

fill(data.videos[0], html("nav", {}, html("a", { href: "../index.html", id: "back" }, "All videos")));
